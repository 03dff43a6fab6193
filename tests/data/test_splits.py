"""How one pool becomes train, valid and test."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dlx.data import DATASETS, Sets, Split
from dlx.data.published.digits import embedded
from dlx.data.splits import Pool, assemble, digest, random_parts, standardized, stratified_table
from dlx.errors import DataError

PARTS = st.lists(st.integers(0, 40), min_size=1, max_size=3)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def pool_of(n: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that carry their own number."""
    return np.arange(n, dtype=np.float32)[:, None], np.arange(n) % classes


def refusal(**fields: object) -> str:
    with pytest.raises(ValidationError) as raised:
        Pool(**fields)
    return raised.value.errors()[0]["msg"].removeprefix("Value error, ")


@given(PARTS, st.integers(0, 50), st.integers(0, 2**40), st.booleans())
def test_parts_are_disjoint_and_of_the_size_asked_for(counts, spare, seed, stratify):
    total = sum(counts) + spare or 1
    y = np.arange(total) % 4 if stratify else None
    parts = random_parts(counts, y, total, seed)

    assert [len(part) for part in parts] == counts
    rows = np.concatenate(parts)
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(total))


@given(st.integers(3, 300), st.floats(0.01, 0.3), st.floats(0.01, 0.3), st.booleans())
def test_what_is_not_held_out_is_trained_on(total, valid, test, stratify):
    x, y = pool_of(total)
    pool = Pool(valid=valid, test=test, stratify=stratify)
    if min(valid, test) * total < 1 - 1e-9:
        with pytest.raises(DataError, match="is less than one"):
            pool.split_pool(x, y)
        return
    parts = [part for part in pool.split_pool(x, y) if part]
    assert sorted(np.concatenate([part.x[:, 0] for part in parts])) == list(range(total))
    assert all((part.x[:, 0] % 3 == part.y).all() for part in parts)


@given(SIZES, st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(0, 99))
def test_every_class_is_within_one_example_of_its_share(sizes, weights, seed):
    total = sum(sizes)
    counts = [int(w * total / 3) for w in weights]
    y = np.repeat(np.arange(len(sizes)), sizes)
    for part, count in zip(random_parts(counts, y, total, seed), counts, strict=True):
        found = np.bincount(y[part], minlength=len(sizes))
        assert all(abs(n - Fraction(count * size, total)) <= 1 for n, size in zip(found.tolist(), sizes, strict=True))


@given(SIZES, st.data())
def test_a_table_of_shares_keeps_both_sums(sizes, data):
    total = sum(sizes)
    cuts = sorted(data.draw(st.lists(st.integers(0, total), min_size=3, max_size=3)))
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
    table = stratified_table(parts, sizes)
    assert [sum(row) for row in table] == sizes
    assert [sum(column) for column in zip(*table, strict=True)] == parts


def test_shares_worked_by_hand():
    assert stratified_table([6, 2, 2], [5, 5]) == [[3, 1, 1], [3, 1, 1]]
    assert stratified_table([2, 2], [1, 1, 1, 1]) == [[1, 0], [0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize("stratify", [False, True])
def test_a_seed_gives_its_split_again_and_another_seed_another(stratify):
    x, y = pool_of(100)
    first, again, other = (
        Pool(test=0.3, stratify=stratify, seed=seed).split_pool(x, y)[2].x[:, 0].tolist() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_the_split_of_a_seed_is_the_same_everywhere():
    assert random_parts([4, 2], None, 8, 0)[1].tolist() == [5, 0]
    assert random_parts([4, 2], np.arange(8) % 2, 8, 0)[1].tolist() == [2, 3]


def test_a_stratified_split_is_not_sorted_by_class():
    train = Pool(stratify=True).split_pool(*pool_of(300))[0]
    assert len(np.flatnonzero(np.diff(train.y))) > 100


@pytest.mark.parametrize(
    ("fields", "total", "counts"),
    [
        ({}, 10, (10, 0, 0)),
        ({"valid": 0.1, "test": 0.2}, 1797, (1259, 179, 359)),
        ({"train": 0.8, "test": 0.2}, 1797, (1438, 0, 359)),  # fractions of the whole: train takes the rest
        ({"train": 0.5, "test": 0.2}, 1797, (898, 0, 359)),
        ({"test": 0.29}, 100, (71, 0, 29)),  # though 0.29 * 100 < 29 in floating point
        ({"train": 100, "valid": 0, "test": 50}, 200, (100, 0, 50)),
        ({"train": 0.5, "valid": 50}, 100, (50, 50, 0)),
    ],
)
def test_fractions_and_counts_become_numbers_of_examples(fields, total, counts):
    assert Pool(**fields).part_sizes(total) == counts


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        (
            {"train": 80, "valid": 0.2, "test": 15},
            "`train` 80 + `valid` 20 + `test` 15 = 115 examples are asked for, and there are 100",
            "Ask for less, or leave out `train` for the rest.",
        ),
        (
            {"test": 2000},
            "`test` 2,000 examples are asked for, and there are 100",
            "Ask for less.",
        ),
        (
            {"train": 0.8, "valid": 5, "test": 0.2},
            "`train` 80 + `valid` 5 + `test` 20 = 105 examples are asked for, and there are 100",
            "Ask for less, or leave out `train` for the rest.",
        ),
        (
            {"valid": 40, "test": 60},
            "no examples are left to train on: `valid` 40 + `test` 60 out of 100",
            "Hold out less than 100.",
        ),
        (
            {"train": 0, "test": 5},
            "no examples are left to train on: `train` 0 out of 100",
            "Leave out `train` for the rest.",
        ),
        (
            {"valid": 0.004},
            "`valid` 0.004 of 100 examples is less than one",
            "Give a fraction above 0.01, or a count.",
        ),
    ],
)
def test_parts_that_do_not_fit_say_both_numbers_and_the_way_out(fields, message, hint):
    with pytest.raises(DataError) as raised:
        Pool(**fields).part_sizes(100)
    (problem,) = raised.value.problems
    assert (problem.message, problem.hint) == (message, hint)


def test_fractions_above_one_are_refused_when_they_are_written():
    assert refusal(train=0.8, valid=0.1, test=0.2) == (
        "`train` 0.8 + `valid` 0.1 + `test` 0.2 = 1.1, and there is 1 to share: "
        "lower one, or leave out `train` for the rest"
    )
    assert refusal(valid=0.9, test=0.2) == "`valid` 0.9 + `test` 0.2 = 1.1, and there is 1 to share: lower one"
    assert refusal(valid=0.5, test=0.5) == "`valid` 0.5 + `test` 0.5 = 1 leaves nothing to train on: lower one"
    assert Pool(train=0.7, valid=0.1, test=0.2).part_sizes(10) == (7, 1, 2)  # 0.7 + 0.1 + 0.2 > 1 in floating point


def test_one_is_refused_because_it_has_two_meanings():
    sentence = "1 could be one example or all of them: give a count from 2 up, or a fraction below 1"
    assert refusal(test=1) == sentence


@pytest.mark.parametrize("part", [-1, -0.1, 1.5, True, "half"])
def test_a_part_is_a_fraction_or_a_count(part):
    with pytest.raises(ValidationError):
        Pool(valid=part)


def parts_of(*xs: np.ndarray) -> list[Split | None]:
    return [Split(x.astype(np.float32), np.zeros(len(x), np.int64)) for x in xs]


@pytest.mark.parametrize(("how", "axes"), [("all", (0, 1, 2)), ("channel", (0, 2)), ("feature", (0,))])
def test_the_training_part_gets_mean_0_and_deviation_1(how, axes):
    rng = np.random.default_rng(0)
    x = rng.normal([[5], [100]], [[0.1], [30]], (5000, 2, 4))  # more than one chunk
    (train,) = standardized(parts_of(x), how)

    assert train.x.dtype == np.float32
    np.testing.assert_allclose(train.x.mean(axes, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(train.x.std(axes, dtype=np.float64), 1, atol=1e-5)


@pytest.mark.parametrize("how", ["all", "channel", "feature"])
def test_the_other_parts_do_not_move_the_mean(how):
    rng = np.random.default_rng(1)
    x, held, other = rng.normal(3, 2, (3, 20, 2, 4))
    first, again = (standardized(parts_of(x, held, test), how) for test in (other, 1000 * other))

    np.testing.assert_array_equal(first[0].x, again[0].x)
    np.testing.assert_array_equal(first[1].x, again[1].x)
    axes = {"all": None, "channel": (0, 2), "feature": 0}[how]
    by_hand = (held - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    np.testing.assert_allclose(first[1].x, by_hand, rtol=1e-4, atol=1e-5)


def test_a_constant_is_divided_by_1():
    x = np.full((6, 2), 0.1, np.float32)
    train, _, test = standardized(parts_of(x, x, x + 0.5), "feature")
    np.testing.assert_allclose(train.x, 0, atol=1e-7)
    np.testing.assert_allclose(test.x, 0.5, atol=1e-6)


def test_nothing_is_touched_without_standardisation():
    parts = [*parts_of(np.ones((2, 1))), None, None]
    assert standardized(parts, "none") == parts


def test_the_digest_sees_values_shapes_dtypes_and_places():
    x, y = np.arange(4, dtype=np.float32), np.arange(4)
    first = Split(x[:, None], y)
    others = [
        (first, None, first),
        (first, first, None),
        (Split(x[:, None] + 1, y), None, None),
        (Split(x[:, None, None], y), None, None),
        (Split(x[:, None], y.astype(np.int32)), None, None),
        (Split(x[:, None], y[::-1]), None, None),
    ]
    digests = {digest(parts) for parts in [(first, None, None), *others]}
    assert len(digests) == 1 + len(others)
    assert digest((Split(x[:, None].astype(">f4"), y.astype(">i8")), None, None)) == digest((first, None, None))


def test_a_data_set_without_training_examples_is_refused():
    with pytest.raises(DataError, match="no examples are left to train on"):
        assemble([None, None, None], "none", "")


def test_assembled_sets_carry_source_and_names():
    sets = assemble([*parts_of(np.ones((2, 1))), None, None], "none", "somewhere", ("a",))
    assert isinstance(sets, Sets)
    assert (sets.source, sets.class_names, len(sets.train), sets.valid) == ("somewhere", ("a",), 2, None)


def rows_of(**fields):
    return [rows.tolist() for rows in Pool(**fields).rows(np.arange(10) % 2)]


def test_parts_can_be_cut_in_the_order_of_the_examples():
    assert rows_of(split="order", valid=0.2, test=0.2) == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]
    assert rows_of(split="order", train=3, test=2) == [[0, 1, 2], [], [3, 4]]
    assert rows_of(valid=0.2, test=0.2) != rows_of(split="order", valid=0.2, test=0.2)


def test_folds_in_order_are_neighbours():
    assert rows_of(split="order", folds=4, fold=1, test=2) == [[2, 3, 4, 5, 6, 7], [0, 1], [8, 9]]
    assert rows_of(split="order", folds=4, fold=3, test=2) == [[0, 1, 2, 3, 6, 7], [4, 5], [8, 9]]


def test_parts_in_order_are_not_drawn_by_class():
    said = "`stratify` draws by class, and `split: order` takes the examples as they lie: keep one of the two"
    assert refusal(split="order", stratify=True) == said
    assert refusal(split="order", seed=3) == (
        "`seed` is of the draw, and `split: order` draws nothing: leave one of the two out"
    )
    sets = DATASETS["digits"](split="order").load()
    images, labels = embedded()
    np.testing.assert_array_equal(sets.train.y, labels[: len(sets.train)])
    np.testing.assert_array_equal(sets.test.x[-1, 0] * 16, images[-1])


def test_each_example_knows_its_row():
    sets = DATASETS["digits"](valid=0.2).load()
    _, labels = embedded()
    for part in (sets.train, sets.valid, sets.test):
        np.testing.assert_array_equal(labels[part.rows], part.y)


# Seconds since 1970, one after the other: float32 has one value for 128 of them.
SECONDS = 1_700_000_000 + np.arange(200.0)[:, None]


@pytest.mark.parametrize("steps", [["center"], ["standardize"], ["rescale"], [{"pca": {"whiten": True}}], ["whiten"]])
def test_what_inputs_have_in_common_is_taken_off_in_double_precision(steps):
    pool = Pool(preprocess=steps)
    here, there = (
        pool.assembled(pool.split_pool(x, np.arange(200)), "").train for x in (SECONDS, SECONDS - SECONDS[0])
    )
    assert here.x.dtype == np.float32
    np.testing.assert_allclose(here.x, there.x, rtol=1e-4, atol=1e-6)
    assert len(np.unique(here.x)) == 200


def test_values_that_single_precision_does_not_tell_apart_are_said():
    (note,) = raw(SECONDS).notes
    left = len(np.unique(SECONDS.astype(np.float32)))
    assert note == (
        f"1 input value of 1 cannot be told apart in 32 bits: number 0 has 200 different values, and {left} of them "
        "are left. `standardize: feature` takes the mean off before."
    )
    assert raw(SECONDS, "feature").notes == ()
    assert raw(np.random.default_rng(0).normal(size=(500, 3))).notes == ()


def raw(x, how="none"):
    return assemble([Split(x, np.arange(len(x))), None, None], how, "")
