"""What hides, blurs and adds noise."""

import pytest
import torch
from batches import after

ONES = torch.ones(2000, 2, 10, 10)


def test_cutout_hides_a_square_that_may_leave_the_picture():
    hidden = after("cutout", ONES, length=4) == 0
    areas = hidden[:, 0].sum((1, 2))
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert areas.max() == 16
    assert areas.min() == 4  # a middle in the corner leaves 2x2
    # each axis keeps 4 of 10 places whole at 7 middles; the others keep 2, 3 and 3
    assert areas.float().mean().item() == pytest.approx(((7 * 4 + 2 + 3 + 3) / 10) ** 2, rel=0.03)


def test_erasing_fills_a_rectangle_of_its_area_with_its_probability():
    found = after("random_erasing", ONES, p=0.7, scale=[0.1, 0.2], ratio=[1.0, 1.0], value=5.0)
    erased = (found == 5).all(1)
    taken = erased.any(2).any(1)
    areas = erased[taken].sum((1, 2))

    assert taken.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert set(areas.tolist()) == {9, 16}  # squares of side 3 and 4, from sqrt(10) to sqrt(20) pixels
    assert ((found == 1) | (found == 5)).all()


def test_erased_by_noise():
    found = after("random_erasing", ONES, p=1.0, value="random")
    changed = found[found != 1]
    assert changed.mean().item() == pytest.approx(0, abs=0.02)
    assert changed.std().item() == pytest.approx(1, abs=0.02)


def test_noise_has_its_deviation_and_no_mean():
    added = after("gaussian_noise", ONES, std=0.3) - ONES
    assert added.mean().item() == pytest.approx(0, abs=0.01)
    assert added.std().item() == pytest.approx(0.3, rel=0.01)


def test_a_blur_keeps_the_sum_away_from_borders_and_spreads_a_point():
    point = torch.zeros(3, 1, 31, 31)
    point[:, :, 15, 15] = 1
    found = after("gaussian_blur", point, sigma=[2.0, 2.0])
    at = torch.arange(31) - 15
    line = torch.exp(-0.5 * (at / 2.0) ** 2) * (at.abs() <= 8)
    line = line / line.sum()
    assert torch.allclose(found[0, 0], line[:, None] * line, atol=1e-6)
    assert after("gaussian_blur", torch.rand(3, 2, 9), sigma=[0.5, 2.0]).shape == (3, 2, 9)
