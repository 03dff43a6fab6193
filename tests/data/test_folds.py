"""Cross-validation: equal parts, each held out once."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data import DATASETS
from dlx.data.splits import Pool
from dlx.errors import DataError

X = np.arange(23, dtype=np.float32)[:, None]
Y = np.arange(23) % 3


def parts(**fields: object) -> list[list[int]]:
    return [sorted(part.x[:, 0].tolist()) if part else [] for part in Pool(**fields).split_pool(X, Y)]


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("test", [None, 5, 0.25])
def test_each_example_is_held_out_once(stratify, test):
    each = [parts(folds=4, fold=fold, test=test, stratify=stratify, seed=3) for fold in range(1, 5)]
    tests = [test for _, _, test in each]
    assert all(one == tests[0] for one in tests)
    rest = sorted(set(range(23)) - set(tests[0]))
    assert sorted(x for _, valid, _ in each for x in valid) == rest
    for train, valid, _ in each:
        assert sorted(train + valid) == rest
        assert abs(len(valid) - len(rest) / 4) < 1


def test_folds_keep_the_proportions_of_the_classes():
    for fold in range(1, 6):
        valid = Pool(folds=5, fold=fold, stratify=True).split_pool(
            np.zeros((100, 1), np.float32), np.arange(100) % 4
        )[1]
        assert np.bincount(valid.y).tolist() == [5, 5, 5, 5]


def test_leaving_one_out_leaves_each_one_out():
    out = [parts(folds="leave_one_out", fold=fold, test=3)[1] for fold in range(1, 21)]
    assert all(len(valid) == 1 for valid in out)
    assert len({valid[0] for valid in out}) == 20


def test_the_counts_are_what_the_split_brings():
    pool = Pool(folds=4, fold=2, test=5)
    assert pool.part_sizes(23) == tuple(len(part) for part in pool.split_pool(X, Y)) == (13, 5, 5)


def test_folds_take_the_place_of_a_validation_part_that_is_there_by_default():
    sets = DATASETS["digits"](folds=10, fold=1).load()
    assert len(sets.valid) in (143, 144)
    assert (len(sets.train) + len(sets.valid), len(sets.test)) == (1438, 359)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"folds": 5}, "`folds` stands without `fold`: write `folds: 5` and `fold: 1`, then 2 to 5"),
        ({"fold": 1}, "`fold` stands without `folds`: write `folds: 5` and `fold: 1`, then 2 to 5"),
        ({"folds": 5, "fold": 6}, "`fold` 6 of 5 `folds`: give 1 to 5"),
        (
            {"folds": 5, "fold": 1, "valid": 0.2},
            "`folds` share out what `test` leaves, and `valid` asks for 0.2: drop one",
        ),
        (
            {"folds": 5, "fold": 1, "train": 100},
            "`folds` share out what `test` leaves, and `train` asks for 100: drop one",
        ),
    ],
)
def test_folds_that_contradict_other_fields_are_refused(fields, sentence):
    with pytest.raises(ValidationError) as raised:
        Pool(**fields)
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"


@pytest.mark.parametrize("folds", [1, 0, "all", 2.5])
def test_folds_are_two_or_more(folds):
    with pytest.raises(ValidationError):
        Pool(folds=folds, fold=1)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"folds": 20, "fold": 1}, "  `folds` 20 of 10 examples: none may be empty\n  Ask for fewer folds."),
        (
            {"folds": 9, "fold": 1, "test": 2},
            "  `folds` 9 of 8 examples, which `test` 2 leaves: none may be empty\n  Ask for fewer folds.",
        ),
        ({"folds": "leave_one_out", "fold": 11}, "  `fold` 11 of 10 folds\n  Give 1 to 10."),
    ],
)
def test_folds_that_do_not_fit_the_examples_are_reported(fields, sentence):
    with pytest.raises(DataError) as raised:
        Pool(**fields).part_sizes(10)
    assert str(raised.value) == sentence
