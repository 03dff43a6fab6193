"""The digits that travel with the package."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.published.digits import COUNTS, Digits, embedded
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


def test_classes_are_taken_in_their_order_and_numbered_by_it():
    digits = Digits(classes=[7, 2], train=0.5)
    images, labels = embedded()
    assert (digits.facts().classes, digits.load().class_names) == (2, ("7", "2"))
    first = digits.load().train
    assert len(first) == round(0.5 * ((labels == 7).sum() + (labels == 2).sum()))
    for wanted, digit in ((0, 7), (1, 2)):
        there = {image.tobytes() for image in images[labels == digit].astype(np.float32) / np.float32(16)}
        assert all(one.tobytes() in there for one in first.x[first.y == wanted][:, 0])


@pytest.mark.parametrize(
    ("classes", "message"), [([5, 5], "`classes` has 5 twice"), ([3], "at least 2"), ([1, 10], "9")]
)
def test_a_class_that_is_no_digit_or_is_given_twice_is_refused(classes, message):
    with pytest.raises(ValidationError, match=message):
        Digits(classes=classes)


def test_how_many_there_are_of_each_is_known_before_anything_is_loaded():
    assert np.bincount(embedded()[1]).tolist() == list(COUNTS)
    with pytest.raises(DataError, match="there are 359"):
        Digits(classes=[2, 1], train=400).facts()
