"""Attention of Swin version 2: cosines, and a bias that a network computes from log-spaced positions."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import network_of, refusal

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def bias_of(module, window, heads, before):
    """Equations 3 and 4 of the paper: (heads, T, T), one pair of places after the other."""

    def spaced(d, w):
        d = 8 * d / (w - 1)
        return math.copysign(math.log2(1 + abs(d)) / math.log2(8), d)

    places = [(i, j) for i in range(window[0]) for j in range(window[1])]
    bias = torch.zeros(heads, len(places), len(places), dtype=torch.float64)
    first, _, second = module.cpb_mlp
    for q, (a, b) in enumerate(places):
        for k, (c, d) in enumerate(places):
            at = torch.tensor([spaced(a - c, before[0]), spaced(b - d, before[1])], dtype=torch.float64)
            inside = torch.relu(first.weight @ at + first.bias)
            bias[:, q, k] = 16 * torch.sigmoid(second.weight @ inside)
    return bias


@pytest.mark.parametrize("before", [None, [4, 5]])
def test_the_bias_is_a_network_of_log_spaced_positions(before):
    options = {"window_size": [2, 3], "hidden_features": 8, "pretrained_window_size": before}
    layer = LAYERS["continuous_relative_position_bias"].model_validate(options)
    module = layer.module(Shape((5, 4, 6, 6))).double()
    # the positions of a table in floats, in doubles, are not those of the equations to the last digit
    x = torch.randn(2, 5, 4, 6, 6, dtype=torch.float64)

    expected = x + bias_of(module, [2, 3], 4, before or [2, 3])

    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)
    assert (module(x) - x).amin() > 0  # a sigmoid: a plain table goes below 0


def test_a_window_of_one_place_on_an_axis_is_at_position_0():
    layer = LAYERS["continuous_relative_position_bias"](window_size=[1, 3])

    assert layer.module(Shape((4, 3, 3))).relative_coords_table[..., 0].abs().max() == 0


def test_lists_of_several_lengths_are_refused():
    options = {"window_size": [2, 3], "pretrained_window_size": [4]}
    found = refusal("continuous_relative_position_bias", options, [(4, 6, 6)])

    assert found[0] == "continuous_relative_position_bias has a window of 2x3, and one of 4 before"


COSINES = """
    - {normalize: {dim: -1}, name: a, from: q}
    - {normalize: {dim: -1}, from: k}
    - {transpose: {dim0: -1, dim1: -2}, name: b}
    - {matmul: {}, from: [a, b], name: cosines}
    - {parameter: {shape: [3, 1, 1], mean: 9}, name: logit_scale}
    - {hardtanh: {min_val: -1e9, max_val: "${log(100)}"}}
    - exp
    - {multiply: {}, from: [cosines, prev]}
"""


def test_scores_are_cosines_times_at_most_100_and_do_not_depend_on_lengths():
    network = build(network_of("{q: [3, 5, 4], k: [3, 5, 4]}", COSINES))
    q, k = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)

    expected = 100 * F.cosine_similarity(q.unsqueeze(3), k.unsqueeze(2), dim=-1)

    torch.testing.assert_close(network(q, k), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(3 * q, 0.1 * k), network(q, k), rtol=1e-4, atol=1e-4)
