"""Sheets: what is drawn as what, and what the files hold."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dlx.sheets.sheet import Drawing


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((5, 1, 8, 8), "images"),
        ((2, 3, 3, 8, 8), "images"),
        ((7, 2), "points"),
        ((3, 4, 2), "points"),
        ((7, 1), "histogram"),
        ((7,), "histogram"),
        ((7, 5), "numbers"),
        ((7, 2, 8, 8), "numbers"),
    ],
)
def test_the_shape_says_what_it_is_drawn_as(shape, form):
    one = Drawing(np.zeros(shape, np.float32))
    assert (one.form, one.suffix) == (form, ".npz" if form == "numbers" else ".png")
    assert one.as_bytes()[:4] == (b"PK\x03\x04" if form == "numbers" else b"\x89PNG")


def pixels(drawing: Drawing) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(drawing.as_bytes())))


def test_images_stand_in_rows_and_columns_enlarged():
    x = np.zeros((2, 3, 1, 8, 8), np.float32)
    x[1, 2] = 1
    found = pixels(Drawing(x))
    side = 96 + 2  # 8 pixels, each 12 wide, and a line between pictures
    assert found.shape == (2 * side - 2, 3 * side - 2, 3)
    assert found[side + 50, 2 * side + 50].tolist() == [255, 255, 255]
    assert found[50, 50].tolist() == found[side + 50, side + 50].tolist() == [0, 0, 0]


def test_images_are_as_bright_as_the_data():
    x = np.array([-3.0, -1.0, 0.0, 1.0], np.float32).reshape(4, 1, 1, 1) * np.ones((4, 1, 8, 8), np.float32)
    real = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    found = pixels(Drawing(x, real=real))
    assert [int(found[at].mean()) for at in ((50, 50), (50, 150), (150, 50), (150, 150))] == [0, 0, 128, 255]


def test_numbers_are_what_they_were():
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    held = np.load(BytesIO(Drawing(x, np.arange(4)).as_bytes()))
    assert np.array_equal(held["values"], x)
    assert held["classes"].tolist() == [0, 1, 2, 3]


def test_points_are_drawn_where_they_are_and_infinities_end_nothing():
    near = pixels(Drawing(np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)))
    beside = pixels(Drawing(np.array([[0.0, 0.0], [1.0, 1.0]], np.float32), real=np.array([[0.5, 0.5]], np.float32)))
    assert near.shape == beside.shape == (400, 400, 4)
    assert not np.array_equal(near, beside)
    assert Drawing(np.array([[np.nan, np.inf], [1.0, 1.0]], np.float32)).as_bytes()
    assert Drawing(np.full((2, 1, 4, 4), np.nan, np.float32)).as_bytes()
