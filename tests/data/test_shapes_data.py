"""Drawn figures."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.generated.shapes import Shapes, inside
from dlx.shapes import Shape


def test_figures_of_a_radius_have_one_area_and_their_own_form():
    steps = np.arange(-40, 40.01, 0.1)
    rows, columns = np.repeat(steps[None, :, None], 3, 0), np.repeat(steps[None, None, :], 3, 0)
    covered = inside(np.arange(3), rows, columns, np.full(3, 20.0))
    np.testing.assert_allclose(covered.sum((1, 2)) * 0.01, np.pi * 400, rtol=0.01)
    disc, square, triangle = covered
    assert disc.sum(1).max() * 0.1 == pytest.approx(40, abs=0.3)
    assert set(square.sum(1)) == {0, square.sum(1).max()}  # each row that it covers, it covers as wide
    widths = triangle.sum(1)[triangle.any(1)]
    assert (np.diff(widths) >= 0).all()  # wider from the tip down


def test_every_pixel_tells_its_figure():
    part = Shapes(noise=0, train=200).load().train
    assert (part.x.shape, part.y.shape) == ((200, 1, 32, 32), (200, 32, 32))
    np.testing.assert_array_equal(part.x[:, 0] > 0, part.y > 0)
    assert 0.5 <= part.x[part.x > 0].min() <= part.x.max() <= 1
    assert set(np.unique(part.y)) == {0, 1, 2, 3}
    assert Shapes().load().class_names == ("ground", "disc", "square", "triangle")
    border = np.concatenate([part.y[:, 0], part.y[:, -1], part.y[:, :, 0], part.y[:, :, -1]])
    assert (border == 0).mean() > 0.99


def test_one_figure_is_of_one_class():
    part = Shapes(targets="class", noise=0, train=300).load().train
    again = Shapes(noise=0, train=300, most=1).load().train
    np.testing.assert_array_equal(part.x, again.x)
    np.testing.assert_array_equal(part.y + 1, again.y.max((1, 2)))
    assert np.bincount(part.y).tolist() == [100, 100, 100]


def test_a_heat_map_has_a_spot_on_the_middle_of_each_figure():
    maps = Shapes(targets="heat_maps", noise=0, train=100, most=1).load().train.y
    where = Shapes(noise=0, train=100, most=1).load().train.y
    assert (maps.shape, Shapes(targets="heat_maps").facts().target) == ((100, 3, 32, 32), Shape((3, 32, 32)))
    for picture, spots in zip(where, maps, strict=True):
        kind = picture.max() - 1
        rows, columns = np.nonzero(picture)
        row, column = np.unravel_index(spots[kind].argmax(), (32, 32))
        assert abs(column - columns.mean()) < 1
        assert abs(row - rows.mean()) < 1
        assert 0.8 < spots[kind].max() <= 1
        assert (np.delete(spots, kind, 0) == 0).all()


def test_pictures_have_one_to_most_figures():
    there = Shapes(train=3000, most=4)._figures(3000, np.random.default_rng(0)).present.sum(1)
    np.testing.assert_allclose(np.bincount(there)[1:] / 3000, 0.25, atol=0.03)


def test_colours_and_noise():
    part = Shapes(channels=3, noise=0.2, train=100).load().train
    ground = part.x.transpose(0, 2, 3, 1)[part.y == 0]
    assert ground.shape[1] == 3
    assert ground.std() == pytest.approx(0.2, rel=0.02)


def test_several_figures_have_no_class():
    with pytest.raises(ValidationError, match="a picture has one class, and `most` is 2 figures: leave it out"):
        Shapes(targets="class", most=2)
