"""Waves, spectra and series, changed along their time. NumPy is the witness."""

import numpy as np
import pytest
import torch
from batches import after, made, numbered, same

from dlx.augment.signals import interpolated, warped
from dlx.errors import ShapeError
from dlx.shapes import Shape


def test_values_between_steps_are_those_of_numpy():
    x = torch.randn(4, 2, 9, generator=torch.Generator().manual_seed(0))
    places = torch.rand(4, 7, generator=torch.Generator().manual_seed(1)) * 10 - 1
    found = interpolated(x, places)
    for i in range(4):
        for channel in range(2):
            expected = np.interp(places[i].numpy(), np.arange(9), x[i, channel].numpy())
            assert found[i, channel].numpy() == pytest.approx(expected, abs=1e-6)


def test_speed_by_hand():
    """Twice as fast about the middle: 0, 0, 1, 3, 5, 0, 0 of 0 to 6, times 3."""
    x = torch.arange(7.0).expand(1, 1, 7)
    assert after("speed", x, factor=[2, 2]).flatten().tolist() == pytest.approx([0, 0, 1, 3, 5, 0, 0])
    assert after("speed", x, factor=[0.5, 0.5]).flatten().tolist() == pytest.approx([1.5, 2, 2.5, 3, 3.5, 4, 4.5])
    assert after("speed", x, factor=[1, 1]).flatten().tolist() == pytest.approx(list(range(7)))


def test_speed_changes_the_pitch_by_its_factor():
    """A wave of 8 turns in 256 steps, played 1.5 times as fast, has 8 * 1.5 turns in 256 steps."""
    x = torch.sin(2 * torch.pi * 8 * torch.arange(256) / 256)[None, None]
    spectrum = np.abs(np.fft.rfft(after("speed", x, factor=[1.5, 1.5])[0, 0].numpy(), 4096))
    assert spectrum.argmax() / 16 == pytest.approx(12, abs=0.3)


def test_time_is_the_first_axis_of_series():
    x = numbered(1, 7, 2)
    found = after("speed", x, factor=[2, 2], time="first")
    assert torch.equal(found, after("speed", x.transpose(1, 2), factor=[2, 2]).transpose(1, 2))


def test_a_warp_by_hand():
    """Of 0 to 4, the part from 1 to 3 stretched by 2: 6 long, and read at 0, 1.5, 3, 4.5, 6."""
    found = warped(4, 2.0, torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    assert found.tolist() == [pytest.approx([0, 1.25, 2, 2.75, 4])]


def test_a_warp_of_one_leaves_all_as_it_is():
    x = torch.randn(3, 2, 20)
    assert after("window_warp", x, factors=[1]).numpy() == pytest.approx(x.numpy(), abs=1e-5)


def test_a_warp_keeps_the_ends_and_the_order():
    found = after("window_warp", same(torch.arange(30.0)[None], 20), size=0.3)[:, 0]
    assert found[:, 0].tolist() == pytest.approx([0] * 20)
    assert found[:, -1].tolist() == pytest.approx([29] * 20, abs=1e-4)
    assert (found.diff() > 0).all()
    assert not torch.allclose(found, torch.arange(30.0).expand(20, -1), atol=0.5)


def test_gain_is_in_decibels():
    """6.0206 dB double, 20 dB are ten times."""
    x = torch.ones(500, 1, 4)
    assert after("gain", x, decibels=[20, 20]).mean() == pytest.approx(10)
    factors = 20 * torch.log10(after("gain", x, decibels=[-6, 6])[:, 0, 0])
    assert -6.001 <= factors.min() < -5.5
    assert 5.5 < factors.max() <= 6.001
    assert factors.mean() == pytest.approx(0, abs=3 * 12 / np.sqrt(12 * 500))


@pytest.mark.parametrize(("kind", "options", "axis"), [
    ("time_mask", {}, 2), ("time_mask", {"time": "first"}, 1), ("frequency_mask", {}, 1),
])  # fmt: skip
def test_a_mask_is_a_run_of_up_to_its_size_on_its_axis(kind, options, axis):
    found = after(kind, torch.ones(3000, 8, 8), size=3, **options)
    lines = found.amin(3 - axis)
    assert torch.equal(lines, found.amax(3 - axis))  # all of the other axis alike
    widths = (lines == 0).sum(1)
    counts = torch.bincount(widths, minlength=4) / 3000
    assert counts.tolist() == pytest.approx([1 / 4] * 4, abs=4 * np.sqrt(3 / 16 / 3000))
    assert ((lines.diff(dim=1) != 0).sum(1) <= 2).all()


def test_each_place_of_a_mask_is_as_likely():
    """Masks of one step of 5: each step is hidden in half of a fifth of the examples."""
    hidden = (after("time_mask", torch.ones(8000, 1, 5), size=1) == 0).float().mean((0, 1))
    assert hidden.tolist() == pytest.approx([0.1] * 5, abs=4 * np.sqrt(0.09 / 8000))


def test_several_masks():
    found = after("time_mask", torch.ones(200, 1, 40), size=2, masks=5)
    assert (found == 0).sum(2).max() > 4


def test_a_mask_that_is_too_large_is_told():
    with pytest.raises(ShapeError, match="a mask of up to 9 is larger than the 8 positions"):
        made("time_mask", size=9).output_shape(Shape((2, 8)))
