"""Tables of numbers, yes and no, and categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dlx.data.tables.table import Table
from dlx.errors import DataError
from dlx.shapes import Shape

RESTAURANTS = """\
Alternate,Type,Price,Wait,Minutes
true,French,3,yes,1.5
false,Thai,1,no,2.5
true,burger,1,yes,4
false,Italian,2,no,7
true,Thai,2,yes,9
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return written(tmp_path, RESTAURANTS)


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def in_order(source: Table) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets in the order of the file: sorted by `Minutes`, which is the last input."""
    train = source.load().train
    order = np.argsort(train.x[:, -1])
    return train.x[order], train.y[order]


def refusal_of(source: Table) -> str:
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{source.path.parent}/", "")


def test_each_column_is_encoded_as_the_book_does(path):
    source = Table(path=path, target="Wait")
    x, y = in_order(source)
    # Alternate; French, Italian, Thai, burger: four bits, and no order among them; Price; Minutes
    np.testing.assert_array_equal(
        x,
        [
            [1, 1, 0, 0, 0, 3, 1.5],
            [0, 0, 0, 1, 0, 1, 2.5],
            [1, 0, 0, 0, 1, 1, 4],
            [0, 0, 1, 0, 0, 2, 7],
            [1, 0, 0, 1, 0, 2, 9],
        ],
    )
    assert y.tolist() == [1, 0, 1, 0, 1]
    assert source.load().class_names == ("no", "yes")
    assert (source.facts().input, source.facts().classes) == (Shape((7,)), 2)


def test_false_can_be_minus_one(path):
    x, _ = in_order(Table(path=path, target="Wait", false_is=-1))
    assert x[:, 0].tolist() == [1, -1, 1, -1, 1]


def test_numbers_can_be_names_and_logarithms(path):
    x, _ = in_order(
        Table(path=path, target="Wait", columns=["Price", "Minutes"], categorical=["Price"], log=["Minutes"])
    )
    np.testing.assert_array_equal(x[:, :3], [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_allclose(x[:, 3], np.log([1.5, 2.5, 4, 7, 9]), rtol=1e-6)


def test_categories_of_numbers_are_in_the_order_of_the_numbers(tmp_path):
    path = written(tmp_path, "zip,y\n10,1\n9,2\n100,3\n")
    source = Table(path=path, target="zip", categorical=["zip"])
    assert source.load().class_names == ("9", "10", "100")


def test_standardising_moves_the_numbers_alone(path):
    x, _ = in_order(Table(path=path, target="Wait", standardize="feature"))
    np.testing.assert_allclose(x[:, 5:].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(x[:, 5:].std(0), 1, rtol=1e-6)
    assert set(np.unique(x[:, :5])) == {0, 1}


def test_statistics_come_from_the_training_rows(path, tmp_path):
    near, far = (
        written(tmp_path, RESTAURANTS.replace(",9\n", f",{last}\n"), f"{last}.csv") for last in ("9", "9000")
    )
    first, again = (
        Table(path=path, target="Wait", standardize="feature", test_path=test).load() for test in (near, far)
    )
    assert first.test.x[:, -1].max() * 500 < again.test.x[:, -1].max()
    np.testing.assert_array_equal(first.train.x, again.train.x)


def test_targets_of_numbers_are_values_unless_they_are_called_classes(path):
    source = Table(path=path, target="Price")
    assert source.facts().target == Shape((1,))
    assert source.load().train.y.dtype == np.float32
    assert in_order(source)[1].tolist() == [[3], [1], [1], [2], [2]]
    several = Table(path=path, target=["Price", "Minutes"])
    assert (several.facts().target, several.load().train.y.shape) == (Shape((2,)), (5, 2))
    classes = Table(path=path, target="Price", task="classification")
    assert (classes.facts().classes, in_order(classes)[1].tolist()) == (4, [3, 1, 1, 2, 2])


def test_parquet_and_csv_give_the_same(path, tmp_path):
    from pyarrow import csv

    pq.write_table(csv.read_csv(path), tmp_path / "a.parquet")
    first, again = (Table(path=p, target="Wait", test=2).load() for p in (path, tmp_path / "a.parquet"))
    assert first.digest == again.digest
    words = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode(), "b": [1, 2, 3]})
    pq.write_table(words, tmp_path / "b.parquet")
    assert Table(path=tmp_path / "b.parquet", target="b").facts().input == Shape((2,))


@pytest.mark.parametrize(("missing", "rows"), [("drop", 3), ("category", 4)])
def test_views_of_texts_are_texts_and_their_nulls_are_missing(tmp_path, missing, rows):
    texts = pa.array(["x", None, "y", "x"], pa.string_view())
    pq.write_table(pa.table({"a": texts, "y": [0.0, 1.0, 2.0, 3.0]}), tmp_path / "a.parquet")
    sets = Table(path=tmp_path / "a.parquet", target="y", missing=missing).load()
    assert sets.train.x.shape == (rows, 2 + (missing == "category"))
    assert sets.reading["columns"][0]["texts"] == ("x", "y")


def test_files_without_a_first_line_and_with_tabs(tmp_path):
    path = written(tmp_path, "1\ta\n2\tb\n", "a.tsv")
    source = Table(path=path, target="word", names=["size", "word"])
    assert source.load().class_names == ("a", "b")
    assert Table(path=written(tmp_path, "x;y\n1;2\n"), target="y", delimiter=";").facts().input == Shape((1,))


def test_a_file_of_test_rows(path, tmp_path):
    other = written(tmp_path, "Minutes,Wait,Type,Price,Alternate\n8,no,Thai,1,false\n", "b.csv")
    sets = Table(path=path, target="Wait", test_path=other).load()
    assert sets.test.x.tolist() == [[0, 0, 0, 1, 0, 1, 8]]
    assert sets.test.y.tolist() == [0]
    written(tmp_path, "Minutes,Wait,Type,Price,Alternate\n8,no,thai,1,false\n", "b.csv")
    assert refusal_of(Table(path=path, target="Wait", test_path=other)) == (
        "column `Type` of b.csv holds `thai`, which the training file does not have | Did you mean `Thai`?"
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target": "wait"}, "a.csv has no column `wait`, which `target` names | Did you mean `Wait`?"),
        ({"drop": ["Minuts"]}, "a.csv has no column `Minuts`, which `drop` names | Did you mean `Minutes`?"),
        ({"columns": ["Wait"]}, "`Wait` is both input and target | Take it out of `columns`."),
        (
            {"max_categories": 3},
            (
                "column `Type` of a.csv has 4 different values in 5 rows: one-hot, as many inputs | "
                "`drop: [Type]` leaves it out; `max_categories: 4` takes it all the same."
            ),
        ),
        (
            {"log": ["Type"]},
            "column `Type` of a.csv holds string, which has no logarithm | Take `Type` out of `log`.",
        ),
        (
            {"target": ["Price", "Wait"]},
            (
                "column `Wait` of a.csv holds texts, and targets of values hold numbers | "
                "Give one column of classes, or columns of numbers."
            ),
        ),
        (
            {"target": "Price", "stratify": True},
            (
                "`stratify` keeps the proportions of classes, and the target `Price` is of numbers | "
                "Leave out `stratify`, or write `task: classification`."
            ),
        ),
        (
            {"target": "Minutes", "task": "classification"},
            "column `Minutes` of a.csv holds 1.5, and classes are whole numbers | Number the classes from 0.",
        ),
    ],
)
def test_columns_that_do_not_fit(path, fields, sentence):
    assert refusal_of(Table(path=path, **({"target": "Wait"} | fields))) == sentence


@pytest.mark.parametrize(
    ("text", "fields", "sentence"),
    [
        ("a,b\n0,1\n2,2\n", {"log": ["a"]}, "column `a` of a.csv holds 0, which has no logarithm | "),
        (
            "a,b\ninf,1\n2,2\n",
            {},
            "column `a` of a.csv holds 1 values that are not finite in 32 bits, such as inf | ",
        ),
        (
            "a,b\n1,2020-01-01\n",
            {},
            "column `b` of a.csv holds dates, and targets are numbers or classes | Write it as a number",
        ),
        ("a,a\n1,2\n", {"target": "a"}, "a.csv has two columns `a` | Give each column a name of its own."),
        ("a,b\n", {}, "a.csv holds no rows | Give a file with examples in it."),
        ("", {}, "a.csv cannot be read as CSV: Empty CSV file | "),
        (
            "a,b\n1,2\n3\n",
            {},
            "a.csv cannot be read as CSV: CSV parse error: Row #3: Expected 2 columns, got 1: 3 | A text with",
        ),
        ("b\n1\n2\n", {}, "a.csv has no column but the target | Give a file with more columns."),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, fields, sentence):
    assert refusal_of(Table(path=written(tmp_path, text), **({"target": "b"} | fields))).startswith(sentence)


def test_a_file_that_is_missing(path):
    assert (
        refusal_of(Table(path=path.with_name("b.csv"), target="Wait"))
        == "b.csv does not exist | Did you mean `a.csv`?"
    )
    assert (
        refusal_of(Table(path=path.with_name("other.txt"), target="Wait"))
        == "other.txt does not exist | There is a.csv."
    )
    long = "n" * 300
    assert refusal_of(Table(path=path.with_name(long), target="Wait")) == (
        f"{long} cannot be read: File name too long | Check the path."
    )
    assert refusal_of(Table(path=path.parent, target="Wait")).endswith(" is a folder, not a file | Its files: a.csv.")


def test_a_file_that_does_not_fit_into_memory(path, monkeypatch):
    class Small:
        available = 100

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Small)
    assert refusal_of(Table(path=path, target="Wait")) == (
        "a.csv is a file of 0.0 GiB, and 0.0 GiB of memory are free | "
        "A data set is held in memory: give a part of the file."
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"test": 2, "test_path": "b"},
            "`test` takes rows from `path`, and `test_path` brings them: give one of the two",
        ),
        (
            {"columns": ["a"], "drop": ["b"]},
            "`columns` and `drop` both choose the inputs: give one of the two",
        ),
        (
            {"task": "classification", "target": ["a"]},
            "`task: classification` takes one column as `target`, and here is a list: give one name",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, sentence):
    with pytest.raises(ValidationError) as raised:
        Table(path="a.csv", **({"target": "y"} | fields))
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"
