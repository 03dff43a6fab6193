"""Values that are missing in a table, and texts that have an order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import experiment_of
from pydantic import ValidationError
from test_table import in_order, refusal_of, written

from dlx.data.preprocess.fill import Fill
from dlx.data.tables.table import Table
from dlx.experiment import runner

ROWS = """\
age,kind,far,far_told,Minutes,y
1,b,true,x,1,0
2,a,,x,2,1
,b,true,x,3,0
6,,false,x,4,1
7,b,false,x,5,0
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return written(tmp_path, ROWS)


def inputs(path: Path, missing: object, columns: tuple[str, ...] = ("age",)) -> list[list[float]]:
    x, _ = in_order(Table(path=path, target="y", columns=[*columns, "Minutes"], missing=missing))
    return x[:, :-1].tolist()


def test_missing_values_are_refused_with_their_place(path, tmp_path):
    assert refusal_of(Table(path=path, target="y")) == (
        "values are missing in a.csv, first in row 2 of column `far`; of 5 rows: `age` 1 and `kind` 1 and `far` 1 | "
        "`drop: [NAME]` leaves out a column; `missing: drop` leaves 2 rows; "
        "`missing: {far: most_frequent}` fills them in."
    )
    never = written(tmp_path, "a,c\n,2\n,3\n", "b.csv")
    assert refusal_of(Table(path=never, target="c", missing="drop")) == (
        "values are missing in b.csv, first in row 1 of column `a`; of 2 rows: `a` 2 | "
        "`drop: [NAME]` leaves out a column; no row is whole."
    )


def test_rows_that_lack_something_can_be_left_out(path):
    assert len(Table(path=path, target="y", missing="drop").load().train) == 2
    assert len(Table(path=path, target="y", columns=["age", "far_told"], missing="drop").load().train) == 4
    assert len(Table(path=path, target="y", missing={"age": "drop", "*": "most_frequent"}).load().train) == 4


@pytest.mark.parametrize(
    ("missing", "value"),
    [("mean", 4), ("median", 4), ("most_frequent", 1), ({"age": {"constant": -1.5}}, -1.5), ({"*": "mean"}, 4)],
)
def test_a_number_is_filled_in(path, missing, value):
    assert inputs(path, missing) == [[1], [2], [value], [6], [7]]


def test_the_median_is_no_mean(tmp_path):
    path = written(tmp_path, "age,Minutes,y\n1,1,0\n2,2,1\n9,3,0\n,4,0\n")
    assert inputs(path, "median")[3] == [2]
    assert inputs(path, "mean")[3] == [4]


def test_an_indicator_tells_that_it_was_filled_in(path):
    assert inputs(path, "indicator") == [[1, 0], [2, 0], [4, 1], [6, 0], [7, 0]]


def test_texts_have_a_category_for_it_or_the_most_frequent_one(path):
    # inputs a, b, and where `category` is asked for: missing
    assert inputs(path, {"kind": "category"}, ("kind",)) == [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert inputs(path, "most_frequent", ("kind",)) == [[0, 1], [1, 0], [0, 1], [0, 1], [0, 1]]
    assert inputs(path, {"kind": {"constant": "a"}}, ("kind",))[3] == [1, 0]


def test_true_and_false_are_filled_in(path):
    assert inputs(path, {"far": {"constant": False}}, ("far",)) == [[1], [0], [1], [0], [0]]
    assert inputs(path, "mean", ("far",))[1] == [0.5]
    assert inputs(path, "indicator", ("far",)) == [[1, 0], [0.5, 1], [1, 0], [0, 0], [0, 0]]
    minus = Table(path=path, target="y", columns=["far"], missing={"far": {"constant": False}}, false_is=-1)
    assert sorted(minus.load().train.x[:, 0].tolist()) == [-1, -1, -1, 1, 1]


def test_logarithms_are_filled_in_as_logarithms(path):
    source = Table(path=path, target="y", columns=["age", "Minutes"], log=["age"], missing="mean")
    x, _ = in_order(source)
    assert x[2, 0] == pytest.approx(np.log([1, 2, 6, 7]).mean())
    source = Table(path=path, target="y", columns=["age", "Minutes"], log=["age"], missing={"age": {"constant": 3}})
    assert in_order(source)[0][2, 0] == pytest.approx(np.log(3))


def test_only_the_training_part_is_looked_at(tmp_path):
    rows = "\n".join(f"{'' if i % 3 == 0 else i},{i},{i % 2}" for i in range(60))
    path = written(tmp_path, f"age,Minutes,y\n{rows}\n")
    sets = Table(path=path, target="y", missing="mean", valid=0.3, standardize="feature", seed=1).load()
    rows_there = [part.x[:, 1] for part in (sets.train, sets.valid)]
    fill, standardize = sets.preprocess
    minutes = rows_there[0] * standardize.found["std"][0, 1] + standardize.found["mean"][0, 1]
    seen = [m for m in minutes.round() if m % 3]
    assert fill.found["value"][0] == pytest.approx(np.mean(seen))
    assert fill.found["value"][0] != pytest.approx(np.mean([i for i in range(60) if i % 3]), abs=0.01)
    assert np.isfinite(sets.valid.x).all()
    np.testing.assert_allclose(sets.train.x.mean(0), 0, atol=1e-6)


def test_what_fills_in_is_recorded_with_the_run(path, tmp_path):
    text = f"""
        data: {{table: {{path: {path}, target: y, columns: [age, Minutes], missing: {{age: mean}}}}}}
        network: {{layers: [{{linear: 1}}]}}
        train: {{steps: 2, batch_size: 2}}
        track: {{mlflow: false}}
    """
    run = runner.run(experiment_of(text), tmp_path / "runs").results[0].run
    (step,) = json.loads((run.dir / "lock.json").read_text())["data"]["preprocess"]
    assert (step["kind"], step["columns"]) == ("fill", [["age", 0, 1, "mean"]])
    assert step["statistics"]["value"]["values"] == [4, 0]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"missing": "mean"},
            (
                "`missing: mean` is for numbers, and column `kind` of a.csv holds texts and lacks some | "
                "Give it a way of its own: `missing: {kind: most_frequent}`."
            ),
        ),
        (
            {"missing": {"kind": "indicator", "*": "drop"}},
            (
                "`missing: indicator` is for numbers, and column `kind` of a.csv holds texts and lacks some | "
                "Give it a way of its own: `missing: {kind: category}`."
            ),
        ),
        (
            {"missing": {"age": "category", "*": "drop"}},
            (
                "`missing: category` is for texts, and column `age` of a.csv holds numbers and lacks some | "
                "Give it a way of its own: `missing: {age: indicator}`."
            ),
        ),
        (
            {"missing": {"kind": {"constant": "c"}, "*": "drop"}},
            "`missing` gives column `kind` of a.csv the constant c, and it holds texts | It has b.",
        ),
        (
            {"missing": {"age": {"constant": "old"}, "*": "drop"}},
            "`missing` gives column `age` of a.csv the constant old, and it holds numbers | Give a number.",
        ),
        ({"missing": {"agee": "mean"}}, "`missing` names `agee`, which is none of the columns of a.csv | "),
        (
            {"missing": {"y": "mean"}},
            "`missing` fills in `y` of a.csv, which is what is told | Write `y: drop`.",
        ),
    ],
)
def test_ways_that_do_not_suit(path, fields, sentence):
    assert refusal_of(Table(path=path, target="y", **fields)) == sentence


def test_a_target_is_never_filled_in(tmp_path):
    path = written(tmp_path, "a,y\n1,1\n2,\n3,2\n")
    assert refusal_of(Table(path=path, target="y", missing="mean")).startswith(
        "values are missing in a.csv, first in row 2"
    )
    assert len(Table(path=path, target="y", missing={"y": "drop"}).load().train) == 2


def test_a_column_without_a_value_in_the_training_part(tmp_path):
    path = written(tmp_path, "a,b,y\n,1,1\n,2,2\n")
    source = Table(path=path, target="y", missing="mean", columns=["a", "b"])
    assert refusal_of(source) == (
        "column `a` of a.csv holds null, and inputs are made of numbers, true and false, dates, and texts | "
        "`drop: [a]` leaves it out."
    )
    other = written(tmp_path, "a,b,y\n5,1,1\n,2,2\n", "b.csv")
    held = Table(path=other, target="y", missing={"a": "mean"}, valid=0.5)
    seeds = [s for s in range(20) if held.model_copy(update={"seed": s}).rows(np.zeros(2))[0][0] == 1]
    assert refusal_of(held.model_copy(update={"seed": seeds[0]})) == (
        "column `a` has no value in the training part, and `missing: mean` takes it from there | "
        "Give a constant: `missing: {a: {constant: 0}}`."
    )


def test_a_step_of_its_own_fills_in_arrays():
    x = np.array([[1, np.nan], [3, np.nan], [np.nan, np.nan], [8, np.nan]], np.float32)
    for by, value in (("mean", 4), ("median", 3)):
        step = Fill(by=by)
        found = step.fit(x)
        assert step.apply(x, found).tolist() == [[1, 0], [3, 0], [value, 0], [8, 0]]


# --- texts that have an order ---------------------------------------------------------------------------------------


def test_texts_that_have_an_order_become_one_number(tmp_path):
    path = written(tmp_path, "size,Minutes,y\nlarge,1,0\nsmall,2,1\nmedium,3,0\n,4,0\n")
    source = Table(
        path=path, target="y", ordinal={"size": ["small", "medium", "large"]}, missing={"size": "most_frequent"}
    )
    assert in_order(source)[0].tolist() == [[2, 1], [0, 2], [1, 3], [0, 4]]
    with_constant = Table(path=path, target="y", ordinal=source.ordinal, missing={"size": {"constant": "large"}})
    assert in_order(with_constant)[0][3].tolist() == [2, 4]
    assert refusal_of(Table(path=path, target="y", ordinal={"size": ["small", "large"]}, missing="drop")) == (
        "column `size` of a.csv holds `medium`, which `ordinal` does not list | There are large, small."
    )
    with pytest.raises(ValidationError, match="`ordinal` and another option are both for `size`: keep one"):
        Table(path=path, target="y", ordinal={"size": ["a"]}, categorical=["size"])


@pytest.mark.parametrize(
    ("column", "way"),
    [
        ("far", "`missing: {far: median}` fills them in."),
        ("kind", "`missing: {kind: most_frequent}` fills them in."),
        ("y", "`missing: {y: drop}` leaves out its rows."),
    ],
)
def test_the_way_out_suits_the_column(tmp_path, column, way):
    cells = {"far": "1.5", "kind": "b", "y": "2.5"}
    rows = [cells, cells | {column: ""}, cells, cells]
    text = "\n".join(["far,kind,y", *(",".join(row.values()) for row in rows)]) + "\n"
    assert refusal_of(Table(path=written(tmp_path, text), target="y")).endswith(way)
