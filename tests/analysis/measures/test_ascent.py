"""Inputs made by gradient, against closed forms of linear networks."""

import pytest
import torch

from dlx.analysis.measures.ascent import ascend_on_sphere, descend, gram, relative_error, total_variation


def test_the_greatest_of_a_linear_unit_on_a_sphere_is_its_weights():
    weights = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
    start = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    found, values = ascend_on_sphere(lambda x: (x * weights).flatten(1).sum(1) + 0.7, start, 2.0, 100)

    assert torch.allclose(values, 2 * weights.norm() + 0.7, atol=1e-3)
    assert torch.allclose(found, (2 * weights / weights.norm()).expand(4, -1, -1, -1), atol=0.05)
    assert ((start * weights).flatten(1).sum(1) < values).all()


def test_a_descent_finds_the_input_that_a_layer_tells_and_no_more():
    """Of 8 values a layer of 4 tells the part in its row space, W+ W x0; an invertible one tells x0 itself."""
    x0 = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    errors = {}
    for units in (4, 8):
        w = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0][:units]
        found = descend(lambda x, w=w: relative_error(x @ w.T, x0 @ w.T), torch.zeros(3, 8), 300, 0.1)
        seen = torch.linalg.pinv(w) @ w

        assert torch.allclose(found @ seen.T, x0 @ seen.T, atol=1e-2)
        errors[units] = float(relative_error(found, x0).max())
    assert errors[8] < 1e-3
    assert errors[4] > 0.1


def test_values_stay_within_limits():
    found = descend(lambda x: (x - 3).square().sum(1), torch.zeros(1, 2), 50, 0.5, (0.0, 1.0))

    assert found.tolist() == [[1.0, 1.0]]


def test_total_variation_by_hand():
    checks = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])

    assert total_variation(checks).tolist() == [2.0, 0.0]
    assert total_variation(torch.tensor([[[0.0, 2.0, 2.0]]])).tolist() == [2.0]


def test_gram_by_hand_and_for_any_order_of_positions():
    maps = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 1.0], [3.0, 0.0]]]])
    turned = maps.flip(2, 3)

    assert gram(maps).tolist() == [[[1.5, 0.5], [0.5, 2.5]]]
    assert torch.equal(gram(turned), gram(maps))
    assert not torch.equal(gram(torch.stack([maps[0, 0], turned[0, 1]])[None]), gram(maps))


def test_relative_error():
    assert relative_error(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]])).tolist() == pytest.approx([0.4])
