"""Colours, against formulas by hand and Python's own colorsys."""

import colorsys

import numpy as np
import pytest
import torch
from batches import after, made
from pydantic import ValidationError

from dlx.augment.colours import grey, pixels, turned
from dlx.data.preprocess import fit_steps
from dlx.data.preprocess.affine import Center, Normalize, Standardize
from dlx.data.preprocess.rescale import Rescale

X = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_brightness_is_times_its_factor_and_ends_at_1():
    assert torch.allclose(after("color_jitter", X, brightness=[1.5, 1.5]), (X * 1.5).clamp(0, 1))


def test_contrast_is_about_the_mean_grey_of_each_picture():
    red, green, blue = X.unbind(1)
    mean = (0.2989 * red + 0.587 * green + 0.114 * blue).mean((1, 2))[:, None, None, None]
    assert torch.allclose(after("color_jitter", X, contrast=[0.5, 0.5]), 0.5 * X + 0.5 * mean, atol=1e-6)


def test_without_saturation_all_is_grey():
    plain = after("color_jitter", X, saturation=[0.0, 0.0])
    assert torch.allclose(plain, grey(X).expand_as(X), atol=1e-6)


@pytest.mark.parametrize("by", [-0.5, -0.1, 0.0, 0.25, 0.4])
def test_hues_are_turned_as_colorsys_turns_them(by):
    found = turned(X, torch.full((6, 1, 1), by))
    for n, i, j in np.ndindex(6, 4, 4):
        hue, saturation, value = colorsys.rgb_to_hsv(*X[n, :, i, j].tolist())
        wanted = colorsys.hsv_to_rgb((hue + by) % 1.0, saturation, value)
        assert found[n, :, i, j].tolist() == pytest.approx(wanted, abs=1e-5)


def test_grey_has_no_hue_to_turn():
    plain = torch.full((2, 3, 2, 2), 0.3)
    assert torch.allclose(turned(plain, torch.full((2, 1, 1), 0.4)), plain)


def test_a_number_is_a_factor_around_1():
    white = torch.full((4000, 1, 1, 1), 0.5)
    values = after("color_jitter", white, brightness=0.4)[:, 0, 0, 0] * 2
    assert 0.6 <= values.min() < 0.61
    assert 1.39 < values.max() <= 1.4
    assert values.mean().item() == pytest.approx(1, abs=0.02)


def test_a_jitter_that_changes_nothing_is_refused():
    with pytest.raises(ValidationError, match="color_jitter changes nothing: give `brightness`, `contrast`"):
        made("color_jitter")


def test_pca_colours_lie_along_the_axes_and_are_of_their_variances():
    """Red alone varies, by 0.04: what is added is red, of deviation 0.1 * 0.04."""
    torch.manual_seed(0)
    x = torch.full((3000, 3, 4, 4), 0.5)
    x[:, 0] += 0.2 * torch.randn(3000, 4, 4)
    added = after("pca_color", x) - x

    assert added[:, 1:].abs().max() < 2e-4
    assert added[:, 0].std().item() == pytest.approx(0.1 * 0.04, rel=0.06)
    assert torch.allclose(added, added[:, :, :1, :1].expand_as(added), atol=1e-6)  # one colour for a picture


@pytest.mark.parametrize(
    "steps",
    [
        [Standardize.model_validate({"per": "channel"})],
        [Center()],
        [Normalize(mean=[0.5, 0.4, 0.3], std=[0.2])],
        [
            Rescale(low=-1.0, high=2.0, per="channel"),
            Standardize.model_validate({"per": "all"}),
        ],
    ],
    ids=lambda steps: "+".join(step.kind for step in steps),
)
def test_preprocessing_is_undone_for_colours_and_done_again(steps):
    done, seen = fit_steps(steps, X.numpy())
    around = pixels(done, torch.device("cpu"))
    inside = []

    def half(x):
        inside.append(x)
        return x / 2

    found = around.around(half)(torch.from_numpy(seen))
    again = X.numpy() / 2
    for step in done:
        again = step(again)
    assert torch.allclose(inside[0], X, atol=1e-5)
    assert torch.allclose(found, torch.from_numpy(again), atol=1e-4)
