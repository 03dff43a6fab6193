"""Parts by a column, and groups that stay together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from dlx.data.grouping import grouped_folds, grouped_parts
from dlx.data.tables.table import Table
from dlx.errors import DataError

GROUPS = np.random.default_rng(0).integers(0, 20, 200)


def table(folder, name="a.csv", **fields) -> Table:
    columns = {"x": range(200), "patient": GROUPS, "part": ["train", "valid", "test", "train"] * 50, "y": range(200)}
    pd.DataFrame(columns).to_csv(folder / name, index=False)
    return Table(path=folder / name, **({"target": "y"} | fields))


def refusal_of(source: Table) -> str:
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{source.path.parent}/", "")


def test_a_column_says_which_part_a_row_is_in(tmp_path):
    source = table(tmp_path, split={"by": "part"}, drop=["patient"])
    sets = source.load()
    assert sets.valid.rows.tolist() == list(range(1, 200, 4))
    assert sets.test.y[:, 0].tolist() == list(range(2, 200, 4))
    assert (len(sets.train), sets.train.x.shape[1]) == (100, 1)
    use = source.facts().columns[2]
    assert (use.taken_for, use.because) == ("left out", "`split` goes by it: the part of a row")


@pytest.mark.parametrize("seed", [0, 1])
def test_groups_stay_together_and_parts_have_about_their_size(tmp_path, seed):
    sets = table(tmp_path, split={"group": "patient"}, valid=0.2, test=0.3, seed=seed, drop=["part"]).load()
    parts = [part.rows for part in (sets.train, sets.valid, sets.test)]
    groups = [{*GROUPS[rows]} for rows in parts]
    assert sorted(np.concatenate(parts)) == list(range(200))
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert [abs(len(rows) - wanted) <= 4 for rows, wanted in zip(parts, (100, 40, 60), strict=True)] == [True] * 3
    # A split of single rows tears nearly all groups apart
    plain = table(tmp_path, valid=0.2, test=0.3, seed=seed, drop=["part"]).load()
    assert len({*GROUPS[plain.train.rows]} & {*GROUPS[plain.test.rows]}) > 15


@pytest.mark.parametrize("test", [None, 0.2])
def test_folds_keep_groups_together(tmp_path, test):
    fields = {"split": {"group": "patient"}, "folds": 4, "test": test, "drop": ["part"]}
    found = [table(tmp_path, fold=fold, **fields).load() for fold in (1, 2, 3, 4)]
    held = [sets.valid.rows for sets in found]
    left = np.setdiff1d(np.arange(200), found[0].test.rows if test else [])
    assert sorted(np.concatenate(held)) == left.tolist()
    for sets in found:
        assert not {*GROUPS[sets.train.rows]} & {*GROUPS[sets.valid.rows]}
    sizes = [len(rows) for rows in held]
    assert max(sizes) - min(sizes) <= 6


def test_leaving_one_out_leaves_out_a_group(tmp_path):
    sets = table(tmp_path, split={"group": "patient"}, folds="leave_one_out", fold=20, drop=["part"]).load()
    assert len({*GROUPS[sets.valid.rows]}) == 1
    assert len({*GROUPS[sets.train.rows]}) == 19
    with pytest.raises(DataError, match="`fold` 21 of 20 folds"):
        table(tmp_path, split={"group": "patient"}, folds="leave_one_out", fold=21, drop=["part"]).load()


def test_a_group_that_lies_in_two_parts_is_refused(tmp_path):
    torn = table(tmp_path, split={"by": "part", "group": "patient"})
    codes = GROUPS.tolist()
    first = min(codes)
    rows = [i for i, code in enumerate(codes) if code == first]
    train, valid = (next(i for i in rows if i % 4 in places) + 1 for places in ((0, 3), (1,)))
    assert f"lies in two parts: row {train} is in `train`, row {valid} in `valid`; so do " in refusal_of(torn) or (
        "the group `" in refusal_of(torn)
    )
    whole = pd.read_csv(torn.path)
    whole["part"] = whole.patient.map(lambda one: ["train", "valid", "test"][one % 3])
    whole.to_csv(torn.path, index=False)
    sets = torn.load()
    assert {*GROUPS[sets.valid.rows] % 3} == {1}


def test_a_group_in_both_files_is_refused(tmp_path):
    source = table(tmp_path, split={"group": "patient"}, test_path=tmp_path / "b.csv", drop=["part"])
    pd.DataFrame({"x": [1, 2], "patient": [77, 3], "part": ["", ""], "y": [0, 0]}).to_csv(tmp_path / "b.csv")
    assert refusal_of(source) == (
        "the group `3` of column `patient` of a.csv lies in two parts: row 2 of b.csv is in `test` | "
        "Put all rows of a group into one file, or leave out `group`."
    ).replace("b.csv", f"{tmp_path}/b.csv".replace(f"{tmp_path}/", ""))
    pd.DataFrame({"x": [1, 2], "patient": [77, 78], "part": ["", ""], "y": [0, 0]}).to_csv(tmp_path / "b.csv")
    assert len(source.load().test) == 2


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"split": {"by": "parts"}}, "a.csv has no column `parts`, which `split` names | Did you mean `part`?"),
        (
            {"split": {"by": "x"}},
            (
                "row 1 of column `x` of a.csv holds `0`, and `split` takes the part of each row from it | "
                "Write train, valid or test; training, validation, val, dev and testing mean those too."
            ),
        ),
        (
            {"split": {"group": "part"}, "valid": 2},
            (
                "no group of column `part` of a.csv fits into `valid`, which asks for 2 of 200 rows, and the "
                "smallest of 3 groups left has 50 | Ask for more rows in it, or fewer in the other parts."
            ),
        ),
        (
            {"split": {"group": "part"}, "folds": 4, "fold": 1},
            "`folds` 4 of 3 groups of column `part` of a.csv: none may be empty | Ask for fewer folds.",
        ),
        (
            {"split": {"by": "part"}, "test_path": "b.csv"},
            (
                "row 3 of column `part` of a.csv is of the test part, and `test_path` brings that | "
                "Leave out `test_path`, or those rows."
            ),
        ),
    ],
)
def test_columns_that_do_not_split(tmp_path, fields, sentence):
    if "test_path" in fields:
        table(tmp_path, "b.csv")
        fields = {**fields, "test_path": tmp_path / "b.csv"}
    assert refusal_of(table(tmp_path, **fields)) == sentence


def test_a_row_without_a_group_is_refused(tmp_path):
    source = table(tmp_path, split={"group": "patient"})
    frame = pd.read_csv(source.path).astype({"patient": float})
    frame.loc[4, "patient"] = np.nan
    frame.to_csv(source.path, index=False)
    assert "first in row 5 of column `patient`" in refusal_of(source.model_copy(update={"missing": "mean"}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"split": {"by": "part"}, "valid": 0.1},
            "`split` takes the parts from `part`, and `valid` asks for one: keep one of the two",
        ),
        (
            {"split": {"group": "g"}, "stratify": True},
            "`stratify` draws by class, and `split` goes by a column: keep one of the two",
        ),
        ({"split": {"group": "y"}}, "`split` goes by `y`, which is the target: name another column"),
        ({"split": {"group": "a", "by": "a"}}, "`split` takes parts and groups from `a`: name two columns"),
        (
            {"split": {"by": "a"}, "columns": ["a", "b"]},
            "`split` takes the parts from `a`, and `columns` takes it for an input: take it out there",
        ),
    ],
)
def test_fields_that_contradict_a_split_by_columns(fields, sentence):
    with pytest.raises(ValidationError) as raised:
        Table(path="a.csv", target="y", **fields)
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"


def test_the_split_of_a_seed_is_the_same_everywhere():
    codes = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 5])
    parts = grouped_parts((6, 2, 2), codes, "a column", 0, rest=True)
    assert [sorted(codes[rows].tolist()) for rows in parts] == [[0, 0, 1, 1, 1, 4], [2, 5], [3, 3]]
    assert [sorted({*codes[rows].tolist()}) for rows in grouped_folds(3, codes, "a column", 0)] == [
        [1, 4],
        [2, 3],
        [0, 5],
    ]
