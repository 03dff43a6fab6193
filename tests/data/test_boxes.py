"""Figures as boxes in a grid."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.generated.boxes import MOST_OVERLAP, overlap
from dlx.data.generated.shapes import Shapes
from dlx.shapes import Shape


def boxes_of(y: np.ndarray, size: int) -> list[tuple[float, float, float, float, int]]:
    """Left, top, right, bottom in pixels, and the kind, of one picture."""
    grid = y.shape[-1]
    found = []
    for row, column in zip(*np.nonzero(y[0]), strict=True):
        x, z, width, height = y[1:5, row, column]
        middle = (column + x) / grid * size, (row + z) / grid * size
        found.append(
            (
                middle[0] - width * size / 2,
                middle[1] - height * size / 2,
                middle[0] + width * size / 2,
                middle[1] + height * size / 2,
                int(y[5:, row, column].argmax()),
            )
        )
    return found


def test_a_box_is_the_edge_of_what_is_drawn():
    part = Shapes(targets="boxes", noise=0, train=200, most=1, size=64, grid=6).load().train
    seen = 0
    for picture, y in zip(part.x[:, 0], part.y, strict=True):
        found = boxes_of(y, 64)
        assert len(found) == bool(picture.any())
        if found:
            rows, columns = np.nonzero(picture)
            rendered = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            np.testing.assert_allclose(found[0][:4], rendered, atol=1.6)  # the tip of a triangle is narrow
            seen += 1
    assert 70 < seen < 130  # as often one figure as none


def test_the_kind_of_a_box_is_that_of_the_figure():
    part = Shapes(targets="boxes", noise=0, train=300, most=1, size=48).load().train
    areas = [[], [], []]
    for picture, y in zip(part.x[:, 0], part.y, strict=True):
        for left, top, right, bottom, kind in boxes_of(y, 48):
            areas[kind].append((picture > 0).sum() / ((right - left) * (bottom - top)))
    disc, square, triangle = map(np.mean, areas)
    assert (disc, square, triangle) == pytest.approx((np.pi / 4, 1, 1 / 2), abs=0.05)


def test_middles_are_within_their_cells_and_sizes_within_the_picture():
    y = Shapes(targets="boxes", train=400, grid=5).load().train.y
    there = y[:, 0] == 1
    assert set(np.unique(y[:, 0])) == {0, 1}
    for channel in range(1, 5):
        values = y[:, channel][there]
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert (y[:, 5:].sum(1) == y[:, 0]).all()
    assert (y[:, 1:].sum(1)[~there] == 0).all()


def test_no_figure_hides_another_or_shares_its_cell():
    part = Shapes(targets="boxes", train=400, most=4, noise=0).load().train
    counts = part.y[:, 0].sum((1, 2))
    assert counts.max() >= 3
    assert counts.min() == 0
    for y in part.y:
        found = np.array([box[:4] for box in boxes_of(y, 32)])
        for i in range(len(found)):
            for j in range(i):
                assert overlap(found[i : i + 1], found[j : j + 1])[0] <= MOST_OVERLAP + 1e-4


def test_overlap_by_hand():
    assert overlap(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 3, 3]])) == pytest.approx(1 / 7)


def test_facts_and_what_does_not_go_together():
    assert Shapes(targets="boxes", grid=7).facts().target == Shape((8, 7, 7))
    with pytest.raises(ValidationError, match="`grid` is for `targets: boxes`, and they are class: leave it out"):
        Shapes(targets="class", grid=3)
