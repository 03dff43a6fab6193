"""Target encoding, against scikit-learn, and what it must not tell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import TargetEncoder

from dlx.data import input_record
from dlx.data.tables.encodings import encodings_of
from dlx.data.tables.splitting import encoding_folds
from dlx.data.tables.table import Table
from dlx.data.tables.table_files import frames_of
from dlx.data.tables.target_means import category_means, target_matrix
from dlx.errors import DataError

ROWS = 60
RNG = np.random.default_rng(0)
CITY = RNG.choice(list("abcdefg"), ROWS)
TARGETS = {
    "continuous": RNG.normal(size=ROWS).round(3),
    "binary": RNG.choice(["no", "yes"], ROWS),
    "multiclass": RNG.choice(["red", "green", "blue"], ROWS),
}


def table(folder, y=TARGETS["continuous"], city=CITY, name="a.csv", **fields) -> Table:
    pd.DataFrame({"city": city, "y": y}).to_csv(folder / name, index=False)
    return Table(path=folder / name, target="y", **({"target_encoding": ["city"]} | fields))


@pytest.mark.parametrize("smooth", ["auto", 0.0, 3.5])
@pytest.mark.parametrize("kind", TARGETS)
def test_held_out_rows_have_the_means_that_scikit_learn_finds(tmp_path, kind, smooth):
    y = TARGETS[kind]
    sets = table(tmp_path, y, target_encoding={"city": {"smooth": smooth}}, test=0.3).load()
    train, test = sets.train.rows, sets.test.rows
    theirs = TargetEncoder(smooth=smooth, target_type=kind).fit(CITY[train, None], y[train])
    np.testing.assert_allclose(sets.test.x, theirs.transform(CITY[test, None]), rtol=1e-6)


@pytest.mark.parametrize(("split", "kind"), [("random", "multiclass"), ("order", "continuous"), ("random", "binary")])
def test_training_rows_have_the_means_of_the_other_folds(tmp_path, split, kind):
    y = TARGETS[kind]
    source = table(tmp_path, y, split=split, target_encoding={"city": {"cv": 4}}, test=0.2)
    sets = source.load()
    rows = sets.train.rows
    codes = np.unique(y, return_inverse=True)[1] if kind != "continuous" else None
    folds = encoding_folds(source, frames_of(source)[0], rows, None if codes is None else codes[rows], 4, "city")
    assert sorted(np.concatenate(folds)) == list(range(len(rows)))
    for fold in folds:
        others = np.setdiff1d(np.arange(len(rows)), fold)
        theirs = TargetEncoder(target_type=kind).fit(CITY[rows[others], None], y[rows[others]])
        np.testing.assert_allclose(sets.train.x[fold], theirs.transform(CITY[rows[fold], None]), rtol=1e-5)


def test_categories_of_no_example_and_constant_targets_have_the_mean():
    y = target_matrix(np.array([1.0, 2.0, 6.0]), None)
    assert category_means(np.array([0, 0, 2]), y, 4, "auto")[:, 0].tolist()[1::2] == [3, 3]
    assert category_means(np.array([0, 0, 2]), 0 * y + 5, 3, "auto")[:, 0].tolist() == [5, 5, 5]
    assert category_means(np.array([0, 0, 2]), y, 2 + 1, 1.0)[:, 0].tolist() == [2, 3, 4.5]


def test_the_targets_of_the_other_parts_have_no_influence(tmp_path):
    before = table(tmp_path, valid=0.2, test=0.2).load()
    y = TARGETS["continuous"].copy()
    held_out = np.concatenate([before.valid.rows, before.test.rows])
    y[held_out] += 100
    after = table(tmp_path, y, valid=0.2, test=0.2).load()
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(before, part).x, getattr(after, part).x)
    y[before.train.rows[0]] += 100
    assert (table(tmp_path, y, valid=0.2, test=0.2).load().test.x != before.test.x).any()


def test_shuffled_targets_leave_nothing_to_learn(tmp_path):
    """Categories of two rows each: their plain means tell half of the target, those of the other folds nothing."""
    rng = np.random.default_rng(1)
    city, y = np.repeat(np.arange(500), 2).astype(str), rng.normal(size=1000)
    sets = table(tmp_path, y, np.char.add("c", city), max_categories=500).load()
    own = sets.train.x[:, 0]
    assert abs(np.corrcoef(own, sets.train.y[:, 0])[0, 1]) < 0.1
    codes = np.unique(city, return_inverse=True)[1][sets.train.rows]
    naive = category_means(codes, target_matrix(sets.train.y, None), 500, "auto")[codes, 0]
    assert np.corrcoef(naive, sets.train.y[:, 0])[0, 1] > 0.6


def test_a_category_that_tells_the_target_is_learned(tmp_path):
    city = RNG.choice(list("abcdefghij"), 400)
    y = np.array([ord(one) for one in city]) + RNG.normal(size=400)
    sets = table(tmp_path, y, city, test=0.25).load()
    for part in (sets.train, sets.test):
        assert np.corrcoef(part.x[:, 0], part.y[:, 0])[0, 1] > 0.9


def test_unknown_and_missing_categories(tmp_path):
    y, city = [0.0, 2.0, 4.0, 6.0], ["a", "a", None, None]
    options = {"target_encoding": {"city": {"smooth": 0.0, "cv": 2}}, "missing": "category"}
    source = table(tmp_path, y, city, **options)
    input_record.save(tmp_path, input_record.of(source, source.load(), {}))
    record = input_record.load(tmp_path)
    (tmp_path / "b.csv").write_text("city,n\na,1\nb,1\n,1\n")
    assert source.new_inputs(tmp_path / "b.csv", record).x.tolist() == [[1], [3], [5]]
    with pytest.raises(DataError, match="becomes means of targets"):
        table(tmp_path, y, city, missing="most_frequent").load()


def test_several_targets_and_numbers_as_names(tmp_path):
    frame = pd.DataFrame({"zip": [10, 10, 20, 20], "a": [1, 3, 5, 7], "b": [2, 2, 0, 0]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    options = {"target_encoding": {"zip": {"smooth": 0.0, "cv": 2}}, "test_path": tmp_path / "b.csv"}
    pd.DataFrame({"zip": [20, 30], "a": [0, 0], "b": [0, 0]}).to_csv(tmp_path / "b.csv", index=False)
    source = Table(path=tmp_path / "a.csv", target=["a", "b"], **options)
    assert source.load().test.x.tolist() == [[6, 0], [4, 1]]
    assert source.facts().columns[0].taken_for == "texts, means of targets"


def test_folds_keep_groups_together_and_are_not_more_than_there_are(tmp_path):
    options = {"split": {"group": "city"}, "columns": ["city"]}
    source = table(tmp_path, target_encoding={"city": {"cv": 4}}, **options)
    rows = source.load().train.rows
    for fold in encoding_folds(source, frames_of(source)[0], rows, None, 4, "city"):
        assert not {*CITY[rows[fold]]} & {*np.delete(CITY[rows], fold)}
    with pytest.raises(DataError, match="cuts the training part into 8 folds, and it has 7 groups of `city`"):
        table(tmp_path, target_encoding={"city": {"cv": 8}}, **options).load()
    with pytest.raises(DataError, match="cuts the training part into 80 folds, and it has 60 rows"):
        table(tmp_path, target_encoding={"city": {"cv": 80}}).load()


def test_columns_can_be_numbered_in_sorted_order(tmp_path):
    source = table(tmp_path, target_encoding=[], ordinal=["city"], split="order")
    assert source.load().train.x[:, 0].tolist() == [ord(one) - ord("a") for one in CITY]
    assert source.facts().columns[0].because.startswith("`ordinal` names it, sorted; 7 texts, `a`")
    (column,), _ = encodings_of(source, frames_of(source))
    assert column.width == 1
