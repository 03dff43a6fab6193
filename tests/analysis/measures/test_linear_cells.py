"""Cells of piecewise linear functions: against Zaslavsky's count, areas, and points that are tried one by one."""

import json
from itertools import pairwise
from math import comb

import numpy as np
import pytest
from helpers import experiment_of

from dlx.analysis.measures import cells, piecewise
from dlx.graph import trace_all


def rectifiers(widths, seed=0):
    """Weights and biases of layers, drawn."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, m)) * (2 / m) ** 0.5, rng.normal(size=n)) for m, n in pairwise(widths)]


def before(weights):
    """For each layer the function from points to the values before its rectifiers."""

    def values(points, layer):
        for index, (w, b) in enumerate(weights[: layer + 1]):
            points = (np.maximum(points, 0) if index else points) @ w.T + b
        return points

    return [lambda points, layer=layer: values(points, layer) for layer in range(len(weights))]


@pytest.mark.parametrize("units", [1, 2, 5, 12])
def test_lines_in_general_position_cut_the_plane_into_as_many_regions_as_zaslavsky_says(units):
    found = cells.divide(cells.window([-1e3] * 2, [1e3] * 2), before(rectifiers([2, units])), 1000)

    assert len(found) == 1 + units + comb(units, 2)


def test_equal_units_cut_once():
    (w, b), *_ = rectifiers([2, 1])
    weights = [(np.repeat(w, 3, 0), np.repeat(b, 3))]

    assert len(cells.divide(cells.window([-9, -9], [9, 9]), before(weights), 99)) == 2
    assert cells.most_regions([(3, 2)]) == 7


def test_units_that_are_0_but_for_rounding_cut_nothing():
    weights = [(np.array([[1.0, 0.0]]), np.zeros(1)), (np.array([[1e-17]]), np.array([1.0]))]

    def values(points):
        return before(weights)[1](points) - 1 - 1e-17 * points[:, :1]

    assert len(cells.divide(cells.window([-1, -1], [1, 1]), [values, lambda x: np.ones((len(x), 1))], 9)) == 2


def test_cells_of_two_layers_fill_the_window_and_hold_one_pattern_each():
    weights = rectifiers([2, 12, 12])
    found = cells.divide(cells.window([-3, -2], [3, 2]), before(weights), 10_000)
    points = np.random.default_rng(1).uniform([-3, -2], [3, 2], (40_000, 2))
    of_points = np.concatenate([layer(points) > 0 for layer in before(weights)], 1)
    of_cells = np.concatenate([layer(found.centres) > 0 for layer in before(weights)], 1)

    assert found.sizes.sum() == pytest.approx(24)
    assert len(np.unique(of_cells, axis=0)) == len(found), "one pattern comes in one cell alone, for it is convex"
    # a second way: the patterns that points have, and how often
    patterns, counts = np.unique(of_points, axis=0, return_counts=True)
    area = {row.tobytes(): size for row, size in zip(of_cells, found.sizes, strict=True)}
    shares = np.array([area[row.tobytes()] for row in patterns]) / 24
    assert np.abs(counts / 40_000 - shares).max() < 5 * (shares.max() / 40_000) ** 0.5
    assert cells.patterns([layer(points) for layer in before(weights)]) == len(patterns) <= len(found)


def test_within_a_cell_the_function_is_linear_and_across_cells_it_is_not():
    weights = rectifiers([2, 8, 8])
    found = cells.divide(cells.window([-3, -3], [3, 3]), before(weights), 10_000)

    def output(points):
        return np.maximum(before(weights)[1](points), 0).sum(1)

    for polygon in found.polygons:
        assert output(polygon).mean() == pytest.approx(output(polygon.mean(0, keepdims=True))[0], abs=1e-9)
    (whole,) = cells.window([-3, -3], [3, 3]).polygons
    assert abs(output(whole).mean() - output(whole.mean(0, keepdims=True))[0]) > 0.1


def test_intervals_are_cut_at_the_zeros_of_units():
    weights = [(np.array([[0.4], [0.9], [-0.7]]), np.array([-0.2, -0.9, 1.1]))]
    found = cells.divide(cells.window([0], [2]), before(weights), 99)

    assert sorted(found.corners[:, 0]) == pytest.approx([0, 0.5, 0.5, 1, 1, 11 / 7, 11 / 7, 2])
    assert sorted(found.sizes) == pytest.approx([3 / 7, 0.5, 0.5, 4 / 7])


def test_too_many_cells_are_not_searched_for():
    with pytest.raises(cells.TooManyCells):
        cells.divide(cells.window([-9, -9], [9, 9]), before(rectifiers([2, 20])), 100)


def test_the_bound_of_several_layers_is_the_product_over_the_narrowest_before():
    def bound(inputs, *widths):
        layers = [layer for width in widths for layer in ({"linear": width}, "relu")]
        spec = {"name": "chain", "network": {"inputs": [inputs], "layers": layers}}
        return cells.most_regions(piecewise.cuts(trace_all(experiment_of(json.dumps(spec))).one, inputs))

    assert bound(1, 3) == 4
    assert bound(100, 3) == 8
    assert bound(2, 3, 3) == 7 * 7
    assert bound(2, 1, 3) == 2 * 4, "behind one unit there is one dimension left"
