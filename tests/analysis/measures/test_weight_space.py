"""Directions, lines and curves in the space of weights: against lengths and sums by hand."""

import numpy as np
import pytest
import torch

from dlx.analysis.measures import weight_space


def test_each_filter_of_a_direction_is_as_long_as_that_of_the_weights():
    conv, linear, bias = torch.randn(4, 3, 5, 5), torch.randn(6, 2), torch.randn(6)
    first, second, third = weight_space.filter_normalised([conv, linear, bias], torch.Generator().manual_seed(0))

    torch.testing.assert_close(first.flatten(1).norm(dim=1), conv.flatten(1).norm(dim=1))
    torch.testing.assert_close(second.norm(dim=1), linear.norm(dim=1))
    assert not third.any(), "biases do not move"
    assert not torch.allclose(torch.randn(4, 75).norm(dim=1), conv.flatten(1).norm(dim=1)), "draws alone are not"


def test_scaling_two_layers_against_each_other_scales_the_direction_with_them():
    weights = [torch.randn(4, 3), torch.randn(2, 4)]
    plain = weight_space.filter_normalised(weights, torch.Generator().manual_seed(0))
    scaled = weight_space.filter_normalised([weights[0] * 10, weights[1] / 10], torch.Generator().manual_seed(0))

    torch.testing.assert_close(scaled, [plain[0] * 10, plain[1] / 10])


def test_weights_are_restored_to_the_bit():
    weight = torch.nn.Parameter(torch.randn(5))
    before = weight.detach().clone()
    with weight_space.restored([weight]) as start:
        weight_space.move([weight], start, (0.3, [torch.ones(5)]), (2.0, [torch.ones(5)]))
        torch.testing.assert_close(weight.detach(), before + 2.3)

    assert torch.equal(weight.detach(), before)


def test_a_curve_goes_from_one_end_to_the_other_and_is_a_line_where_it_does_not_bend():
    a, b = [torch.zeros(3)], [torch.ones(3)]

    assert torch.equal(weight_space.bezier((a, b), [torch.full((3,), 9.0)], 0.0)[0], a[0])
    assert torch.equal(weight_space.bezier((a, b), [torch.full((3,), 9.0)], 1.0)[0], b[0])
    (middle,) = weight_space.bezier((a, b), [torch.full((3,), 9.0)], 0.5)
    torch.testing.assert_close(middle, torch.full((3,), 0.5 * 9 + 0.25))
    (straight,) = weight_space.bezier((a, b), [torch.full((3,), 0.5)], 0.3)
    torch.testing.assert_close(straight, torch.full((3,), 0.3))


def test_a_barrier_is_the_rise_above_the_line_between_the_ends():
    assert weight_space.barrier([1.0, 5.0, 3.0]) == 3
    assert weight_space.barrier([1.0, 2.0, 3.0]) == 0
    assert weight_space.barrier([3.0, 0.0, 1.0]) == 0, "a valley between the ends is none"


def test_a_bowl_has_no_bumps_and_waves_have():
    x = np.linspace(-1, 1, 41)
    bowl = x[:, None] ** 2 + 7 * x[None, :] ** 2
    # three whole waves, from least to least: six times 2, over a range of 2
    waves = np.sin(np.linspace(-np.pi / 2, 5.5 * np.pi, 121))

    assert weight_space.bumpiness(bowl) == pytest.approx(0, abs=1e-12)
    assert weight_space.bumpiness(1e6 * bowl) == pytest.approx(0, abs=1e-9)
    assert weight_space.bumpiness(-bowl) == pytest.approx(2)
    assert weight_space.bumpiness(waves) == pytest.approx(6)
    assert weight_space.bumpiness(np.ones((3, 3))) == 0
