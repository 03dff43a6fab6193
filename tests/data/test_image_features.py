"""Features by hand: oriented gradients, colours, visual words, polar coordinates, and several side by side."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv

from dlx import spec as specs
from dlx.data import input_record
from dlx.data.preprocess import fit_steps
from dlx.data.preprocess.color_histogram import ColorHistogram, hsv
from dlx.data.preprocess.concat import Concat
from dlx.data.preprocess.hog import HoG
from dlx.data.preprocess.polar import Polar
from dlx.data.preprocess.visual_words import VisualWords
from dlx.errors import DataError
from dlx.experiment import baselines, runner
from dlx.shapes import Shape
from dlx.spec.baseline_list import with_baselines

PICTURE = (np.arange(64).reshape(1, 1, 8, 8) * 7 % 13 / 12).astype(np.float32)
BY_SCIKIT_IMAGE = [0.04639114, 0.0, 0.0, 0.0, 0.31472972, 0.31472972, 0.0, 0.22302079, 0.0]
"""The first cell of skimage.feature.hog(PICTURE, 9, (4, 4), (2, 2)), scikit-image 0.26."""


def applied(step, x):
    (one,), after = fit_steps([step], x)
    np.testing.assert_array_equal(one(x), after)
    return after


def test_oriented_gradients_are_those_of_scikit_image():
    found = applied(HoG(pixels_per_cell=4, cells_per_block=2), PICTURE)

    np.testing.assert_allclose(found[0, :9], BY_SCIKIT_IMAGE, atol=1e-7)
    assert found.shape == (1, 36)


def test_an_edge_has_one_direction():
    """A step from dark to light from left to right: its gradient points at 0 degrees, the first bin."""
    x = np.zeros((1, 1, 8, 8), np.float32)
    x[..., 4:] = 1
    found = applied(HoG(pixels_per_cell=8, cells_per_block=1), x)[0]
    turned = applied(HoG(pixels_per_cell=8, cells_per_block=1), np.swapaxes(x, 2, 3))[0]

    assert found.argmax() == 0
    assert turned.argmax() == 4  # 90 of 180 degrees, in the fifth of nine bins
    assert (found > 0).sum() == (turned > 0).sum() == 1


def test_the_channel_with_the_largest_gradient_counts():
    x = np.zeros((1, 3, 8, 8), np.float32)
    x[:, 1, 4:] = 1
    one = applied(HoG(pixels_per_cell=8, cells_per_block=1), x)
    x[:, 2] = -0.5 * x[:, 1]  # in the other direction, and weaker
    np.testing.assert_array_equal(applied(HoG(pixels_per_cell=8, cells_per_block=1), x), one)
    x[:, 2, :, :4] = 3 * np.arange(4)
    assert not np.array_equal(applied(HoG(pixels_per_cell=8, cells_per_block=1), x), one)


def test_hue_saturation_and_value_are_those_of_matplotlib():
    x = np.random.default_rng(0).random((5, 3, 4, 4))
    x[0, :, 0, 0] = 0.5
    theirs = np.moveaxis(rgb_to_hsv(np.moveaxis(x, 1, -1)), -1, 1)

    np.testing.assert_allclose(hsv(x), theirs, atol=1e-12)


def test_colours_are_counted_by_hand():
    x = np.zeros((1, 3, 2, 2), np.float32)
    x[0, 0, 0] = 1  # two red pixels, hue 0
    x[0, 1, 1, 0] = 1  # a green one, hue 1/3
    x[0, 2, 1, 1] = 1  # a blue one, hue 2/3
    np.testing.assert_array_equal(applied(ColorHistogram(bins=3), x), [[0.5, 0.25, 0.25]])
    of_each = applied(ColorHistogram(bins=2, channels="rgb"), x)
    np.testing.assert_array_equal(of_each, [[0.5, 0.5, 0.75, 0.25, 0.75, 0.25]])
    assert applied(ColorHistogram(channels="hsv"), x).sum() == 3


def test_a_picture_of_one_patch_is_made_of_its_word():
    """Two textures, each in two positions: k-means finds all four, and each picture is one of them throughout."""
    rng = np.random.default_rng(0)
    stripes = np.tile([[0.0, 1.0], [0.0, 1.0]], (1, 1, 4, 4))
    slopes = np.tile([[0.0, 0.0], [1.0, 1.0]], (1, 1, 4, 4))
    x = np.concatenate([stripes] * 20 + [slopes] * 20).astype(np.float32) * rng.uniform(0.5, 1, (40, 1, 1, 1)).astype(
        np.float32
    )
    found = applied(VisualWords(words=4, size=2, stride=2, patches=200), x)

    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert (found.max(1) == 1).all()
    assert found[0].argmax() != found[-1].argmax()


def test_the_codebook_is_drawn_by_its_seed():
    x = np.random.default_rng(0).random((30, 3, 8, 8)).astype(np.float32)
    one, again, other = (
        fit_steps([VisualWords(words=5, patches=100, seed=seed)], x)[0][0].found["words"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_points_in_polar_coordinates_by_hand():
    x = np.array([[3, 4], [0, -2], [-1, 0]], np.float32)
    np.testing.assert_allclose(applied(Polar(), x), [[5, 0.9272952], [2, -np.pi / 2], [1, np.pi]], rtol=1e-6)


def test_a_line_separates_rings_in_polar_coordinates_and_not_before(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, 200), 1 + y + rng.normal(0, 0.1, 200)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=points, y=y)
    (tmp_path / "s.yaml").write_text(
        "data: {arrays: {path: a.npz, test: 100}}\nnetwork: {layers: [{linear: 2}]}\n"
        "train: {steps: 1}\ntrack: {mlflow: false}\n"
    )
    kinds = ["logistic_regression={preprocess: [polar]}", "logistic_regression"]
    found = baselines.run(with_baselines(specs.load(tmp_path / "s.yaml"), kinds), tmp_path / "runs")
    polar, plain = ({m.name: m.mean for m in group.metrics}["test/accuracy"] for group in found.groups)

    assert polar > 0.98
    assert plain < 0.65


def test_steps_side_by_side_are_joined_and_kept_with_the_run(tmp_path):
    x = np.random.default_rng(0).random((20, 3, 8, 8)).astype(np.float32)
    hog = {"hog": {"pixels_per_cell": 4, "cells_per_block": 2}}
    both = Concat(steps=[hog, "color_histogram", {"pca": 2}])
    joined = applied(both, x)

    assert both.output_shape(Shape((3, 8, 8))) == Shape((36 + 10 + 2,))
    np.testing.assert_array_equal(joined[:, :36], applied(HoG(pixels_per_cell=4, cells_per_block=2), x))
    np.testing.assert_array_equal(joined[:, 36:46], applied(ColorHistogram(), x))

    np.savez(tmp_path / "a.npz", x=x, y=np.arange(20) % 2)
    (tmp_path / "s.yaml").write_text(
        "data: {arrays: {path: a.npz, test: 5, preprocess: [{concat: [{hog: {pixels_per_cell: 4, cells_per_block: "
        "2}}, color_histogram, {pca: 2}]}, standardize]}}\nnetwork: {layers: [{linear: 2}]}\n"
        "train: {steps: 1}\ntrack: {mlflow: false}\n"
    )
    result = runner.run(specs.load(tmp_path / "s.yaml"), tmp_path / "runs").results[0]
    kept, sets = input_record.load(result.run.dir), specs.load(tmp_path / "s.yaml").data.load()
    assert sets.test.rows is not None
    np.testing.assert_allclose(kept.prepared(x[sets.test.rows]), sets.test.x, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "shape", "message"),
    [
        (HoG(), (64,), "`hog` describes images (channels, height, width), and inputs are (64,)"),
        (HoG(), (1, 8, 8), "a block of `hog` has 24x24 pixels, 3x3 cells of 8, and images are 8x8"),
        (
            ColorHistogram(),
            (1, 8, 8),
            "`color_histogram` counts the colours of images (3, height, width), and inputs",
        ),
        (VisualWords(), (3, 4, 4), "a patch of `visual_words` has 6x6 pixels, and images are 4x4"),
        (VisualWords(words=20, patches=10), (3, 8, 8), "`visual_words` asks for 20 words of 10 patches"),
        (Polar(), (3,), "`polar` takes points of two values, and inputs are (3,)"),
    ],
)
def test_what_does_not_fit_is_told(step, shape, message):
    with pytest.raises(DataError) as refused:
        step.output_shape(Shape(shape))
    assert refused.value.problems[0].message.startswith(message)


def test_values_beyond_colours_are_told():
    with pytest.raises(DataError, match=r"takes values from 0 to 1, and here are some from -1 to 2"):
        applied(ColorHistogram(), np.array([[[[-1.0]], [[0.0]], [[2.0]]]], np.float32))
