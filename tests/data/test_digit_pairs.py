"""Pairs and triplets of digits: what they are made of, their parts, and what cannot be made."""

import numpy as np
import pytest

from dlx.data import DATASETS
from dlx.data.published.digit_pairs import partners
from dlx.data.published.digits import embedded
from dlx.errors import DataError

DIGIT_OF = {picture.tobytes(): int(digit) for picture, digit in zip(*embedded(), strict=True)}
TRIPLET = ("anchor", "first", "second")


def digits_of(x):
    """The digit of each picture, looked up among those that dlx has, and its bytes."""
    pictures = [np.round(one[0] * 16).astype(np.uint8).tobytes() for one in x]
    return np.array([DIGIT_OF[one] for one in pictures]), pictures


def parts_of(kind, **options):
    sets = DATASETS[kind](valid=0.1, test=0.25, **options).load()
    return {"train": sets.train, "valid": sets.valid, "test": sets.test}


@pytest.mark.parametrize("per_digit", [1, 3])
def test_half_of_the_pairs_are_the_same_digit_and_the_target_says_which(per_digit):
    for name, size in {"train": 1169, "valid": 179, "test": 449}.items():
        part = parts_of("digit_pairs", per_digit=per_digit)[name]
        (left, a), (right, b) = digits_of(part.x), digits_of(part.more["right"])

        assert len(part) == 2 * size * per_digit
        assert part.y.tolist() == (left == right).astype(int).tolist()
        assert part.y.mean() == 0.5
        assert all(one != other for one, other in zip(a, b, strict=True))  # never a picture with itself


def test_the_nearer_of_a_triplet_is_the_anchor_s_digit_and_the_other_is_not():
    part = parts_of("digit_triplets")["test"]
    anchor, *others = (digits_of(x)[0] for x in (part.x, part.more["first"], part.more["second"]))
    chosen = np.stack(others)

    each = np.arange(len(part))
    assert (chosen[part.y, each] == anchor).all()
    assert (chosen[1 - part.y, each] != anchor).all()
    assert part.y.mean() == 0.5


@pytest.mark.parametrize("kind", ["digit_pairs", "digit_triplets"])
def test_no_picture_of_one_part_is_in_another(kind):
    found = {
        name: {one for x in (part.x, *part.more.values()) for one in digits_of(x)[1]}
        for name, part in parts_of(kind).items()
    }
    assert not found["train"] & found["test"]
    assert not found["train"] & found["valid"]
    assert not found["valid"] & found["test"]


def test_partners_are_uniform_over_all_others():
    """Class 0 has places 0, 2, 5, class 1 places 1, 3, and class 2 place 4 and 6."""
    y, rng, n = np.array([0, 1, 0, 1, 2, 0, 2]), np.random.default_rng(0), 30_000
    of = np.full(n, 2)
    same, other = (np.bincount(partners(y, of, how, rng), minlength=7) / n for how in (True, False))

    np.testing.assert_allclose(same, [1 / 2, 0, 0, 0, 0, 1 / 2, 0], atol=0.01)
    np.testing.assert_allclose(other, [0, 1 / 4, 0, 1 / 4, 1 / 4, 0, 1 / 4], atol=0.01)


def test_both_pictures_are_standardised_with_the_same_statistics():
    raw, made = (DATASETS["digit_pairs"](test=0.25, standardize=how).load() for how in ("none", "all"))
    slope = np.polyfit(raw.train.x[:50].ravel(), made.train.x[:50].ravel(), 1)
    right = np.polyfit(raw.train.more["right"][:50].ravel(), made.train.more["right"][:50].ravel(), 1)

    np.testing.assert_allclose(slope, right, rtol=1e-4)
    assert made.preprocess_more["right"] == made.preprocess


def test_folds_share_no_picture_and_pairs_follow_the_seed():
    one, other = (
        DATASETS["digit_pairs"](classes=[0, 1], test=None, folds=3, fold=k, valid=None).load() for k in (1, 2)
    )
    held = [set(digits_of(sets.valid.x)[1]) for sets in (one, other)]
    assert not held[0] & held[1]
    assert not held[0] & set(digits_of(one.train.more["right"])[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 3}, "the part `test` has 3 digits, and digit_pairs needs two of each of two classes"),
        ({"valid": 0, "test": 12, "stratify": True}, "the part `test` has 12 digits"),
    ],
)
def test_a_part_without_two_of_a_digit_is_refused(options, message):
    with pytest.raises(DataError) as refused:
        DATASETS["digit_pairs"](**options).load()
    assert message in str(refused.value)
    assert "Ask for a larger part, or for fewer `classes`." in str(refused.value)
