"""Pictures with a hole: where it is, what is in it, and what stays."""

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data import DATASETS


def part_of(**options):
    part = DATASETS["inpainting"](train=300, **options).load().train
    return part.x, part.more["mask"], part.y


@pytest.mark.parametrize("fill", ["zeros", "other"])
def test_outside_of_the_hole_the_picture_is_whole_and_inside_it_is_not(fill):
    image, mask, picture = part_of(fill=fill)
    hole = mask == 0

    assert (image[~hole] == picture[~hole]).all()
    assert (hole.sum((1, 2, 3)) == 36).all()
    assert (hole.any(2).sum((1, 2)) == 6).all()  # a square
    assert (hole.any(3).sum((1, 2)) == 6).all()
    if fill == "zeros":
        assert not image[hole].any()
    else:
        assert abs(np.corrcoef(image[hole], picture[hole])[0, 1]) < 0.1
        assert image[hole].std() == pytest.approx(picture[hole].std(), rel=0.1)


def test_holes_are_anywhere_and_the_mean_of_all_pictures_is_zero_with_a_quarter_of_variance():
    _, mask, picture = part_of()
    first = {int(np.flatnonzero((m[0] == 0).any(1))[0]) for m in mask}

    assert first == set(range(11))
    assert picture.mean() == pytest.approx(0, abs=0.02)
    assert picture.var() == pytest.approx(0.25, abs=0.02)  # a mean of two waves, each of variance 1/2
    assert np.abs(picture).max() <= 1


def test_what_is_in_the_hole_changes_nothing_else():
    (zeros, *same), (other, *again) = part_of(), part_of(fill="other")

    assert all(np.array_equal(a, b) for a, b in zip(same, again, strict=True))
    assert not np.array_equal(zeros, other)


def test_a_hole_as_large_as_the_picture_is_refused():
    with pytest.raises(ValidationError, match="`hole` 16 leaves nothing of a picture of `size` 16"):
        DATASETS["inpainting"](hole=16)
