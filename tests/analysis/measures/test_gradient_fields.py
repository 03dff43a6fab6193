"""Effective fields against the variance of sums of uniform steps, overlaps against masks counted by hand."""

from itertools import pairwise
from math import sqrt

import pytest
import torch
from torch import nn

from dlx.analysis.measures.gradient_fields import gradient_energy, overlaps, positions_seen, spread


def chain(layers, channels=16, kernel=3, seed=0):
    torch.manual_seed(seed)
    sizes = [1, *[channels] * layers]
    made = [nn.Conv1d(a, b, kernel, padding="same", bias=False) for a, b in pairwise(sizes)]
    for conv in made:
        nn.init.normal_(conv.weight)
    return nn.Sequential(*made)


def energy_of(layers, seeds=12, size=65):
    x = torch.zeros(1, 1, size)
    found = [gradient_energy(chain(layers, seed=s), x, torch.Generator().manual_seed(s)) for s in range(seeds)]
    return torch.stack([one / one.sum() for one in found]).mean(0)


@pytest.mark.parametrize("layers", [2, 8, 18])
def test_the_field_of_random_kernels_grows_with_the_root_of_the_depth(layers):
    """A variance of (k^2 - 1) / 12 a layer; the theoretical field grows as 2 layers + 1."""
    assert spread(energy_of(layers)) == pytest.approx(sqrt(layers * 8 / 12), rel=0.12)


def test_kernels_of_one_value_in_the_middle_see_one_position():
    """The twin: nothing spreads where the outer taps are zero."""
    network = chain(8)
    for conv in network:
        with torch.no_grad():
            conv.weight[..., 0] = conv.weight[..., 2] = 0
    energy = gradient_energy(network, torch.zeros(1, 1, 65), torch.Generator().manual_seed(0))

    assert spread(energy) == 0
    assert positions_seen(energy) == 1


def test_equal_weights_give_the_binomial_field():
    """Luo et al., section 2: kernels of ones give the gradient as powers of a polynomial, here (1 + x + x^2)^2."""
    network = chain(2, channels=1)
    for conv in network:
        nn.init.ones_(conv.weight)
    energy = gradient_energy(network, torch.zeros(1, 1, 9), torch.Generator().manual_seed(0))

    assert (energy / energy.min().clamp_min(energy[2])).sqrt().round().tolist() == [0, 0, 1, 2, 3, 2, 1, 0, 0]
    assert positions_seen(energy) == 5


def test_the_spread_of_two_axes_is_the_root_of_their_mean_variance():
    energy = torch.zeros(5, 5)
    energy[0, 2] = energy[4, 2] = 1

    assert spread(energy) == pytest.approx(sqrt((4 + 0) / 2))


def test_a_unit_that_is_the_mask_has_an_overlap_of_one():
    masks = torch.zeros(2, 4, 4, dtype=torch.int64)
    masks[0, :2, :2] = 1
    masks[1, 3, :] = 2
    maps = torch.stack([(masks == 1).float(), (masks == 2).float(), torch.ones(2, 4, 4)], 1)
    found = overlaps(maps, masks, 3, share=4 / 32)

    assert found[0].tolist() == [0, 1, 0]
    assert found[1].tolist() == [0, 0, 1]
    assert found[2].tolist() == [0, 0, 0], "a unit of one value is on nowhere"
    assert float(overlaps(maps, masks.flip(0), 3, share=4 / 32)[0, 1]) == 0, "the masks of other pictures"


def test_half_an_overlap_by_hand():
    masks = torch.tensor([[1, 1, 0, 0]])
    maps = torch.tensor([[[0.0, 5.0, 4.0, 0.0]]])

    assert overlaps(maps, masks, 2, share=0.5).tolist() == [[pytest.approx(1 / 3), pytest.approx(1 / 3)]]
