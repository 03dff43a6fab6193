"""The digits that travel with the package."""

from __future__ import annotations

import numpy as np
import pytest

from dlx.data.published.digits import Digits, embedded
from dlx.errors import DataError


def test_the_embedded_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    images, labels = embedded()

    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)


def test_a_tenth_is_for_validation_and_a_fifth_for_the_test():
    sets = Digits().load()
    assert (len(sets.train), len(sets.valid), len(sets.test)) == (1259, 179, 359)
    assert sets.class_names == tuple("0123456789")
    assert "CC BY 4.0" in sets.source


def test_ink_runs_from_0_to_1_in_sixteenths():
    x = Digits().load().train.x
    assert sorted(set(x.reshape(-1).tolist())) == [i / 16 for i in range(17)]


def test_every_part_has_the_classes_in_proportion():
    _, labels = embedded()
    sets = Digits(seed=5).load()
    for part in (sets.train, sets.valid, sets.test):
        wanted = np.bincount(labels) * len(part) / len(labels)
        assert abs(np.bincount(part.y) - wanted).max() <= 1


def test_pixels_that_are_always_blank_stay_finite_when_standardised():
    sets = Digits(standardize="feature").load()
    assert np.isfinite(sets.test.x).all()
    blank = (embedded()[0] == 0).all(0)
    assert blank.any()
    assert (sets.train.x[:, 0, blank] == 0).all()


def test_asking_for_too_many_is_reported_before_anything_is_loaded():
    with pytest.raises(DataError) as raised:
        Digits(train=1600).facts()
    assert str(raised.value) == (
        "  `train` 1,600 + `valid` 179 + `test` 359 = 2,138 examples are asked for, and there are 1,797\n"
        "  Ask for less, or leave out `train` for the rest."
    )
