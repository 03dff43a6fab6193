"""What the texts of a CSV file are read as, and what is said of it."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlx import cli
from dlx.data import input_record
from dlx.data.base import ColumnUse
from dlx.data.tables.table import Table
from dlx.errors import DataError


def table(folder: Path, *rows: str, **fields: object) -> Table:
    (folder / "a.csv").write_text("".join(f"{row}\n" for row in rows))
    return Table(path=folder / "a.csv", **({"target": "y"} | fields))


def warned(source: Table) -> list[str]:
    return [f"{one.message} | {one.hint}".replace(f"{source.path.parent}/", "") for one in source.facts().warnings]


def inputs(source: Table) -> list[list[float]]:
    """In the order of the file, whose targets count its rows."""
    train = source.load().train
    return train.x[np.argsort(train.y[:, 0])].tolist()


@pytest.mark.parametrize("text", ["n/a", "#N/A", "#NA", "None", "<NA>", "-nan", "1.#QNAN", "NA", ""])
def test_what_pandas_takes_for_missing_is_missing_among_numbers(tmp_path, text):
    source = table(tmp_path, "a,y", "1,0", f"{text},1", "3,2", missing="mean")
    assert inputs(source) == [[1], [2], [3]]
    assert np.isnan(pd.read_csv(source.path)["a"][1])


def test_such_a_text_is_a_text_among_texts(tmp_path):
    source = table(tmp_path, "wall,y", "brick,0", "None,1", "stone,2")
    assert source.facts().input == (3,)


def test_a_further_text_for_missing_values_is_said_and_can_be_given(tmp_path):
    rows = ["a,y", *(f"{i},{i}" for i in range(9)), "unknown,9"]
    assert warned(table(tmp_path, *rows)) == [
        (
            "column `a` of a.csv is read as 10 different texts, and most of them are shaped like numbers; not "
            '`unknown` | `na_values: ["unknown"]` takes them for missing values; `categorical` says that texts are '
            "meant."
        )
    ]
    assert warned(table(tmp_path, *rows, categorical=["a"])) == []
    assert inputs(table(tmp_path, *rows, na_values=["unknown"], missing={"a": {"constant": -5}}))[-1] == [-5]


def test_texts_that_differ_in_spaces_or_capitals_alone_are_told(tmp_path):
    rows = ["city,kind,y", "Lund,rose,0", "Ystad,Rose ,1", "lund,lily,2", "Malm\u00f6,rose,3"]
    hint = "They are taken for different ones: write each in one way in the file, if one is meant."
    cities = f"column `city` of a.csv has texts that differ in spaces or capitals alone: `Lund` and `lund` | {hint}"
    kinds = f"column `kind` of a.csv has texts that differ in spaces or capitals alone: `Rose ` and `rose` | {hint}"
    assert warned(table(tmp_path, *rows, drop=["kind"])) == [cities]
    assert warned(table(tmp_path, *rows, target="kind", drop=["y"])) == [cities, kinds]
    assert warned(table(tmp_path, *rows, target="kind", categorical=["city"], drop=["y"])) == [kinds]
    assert warned(table(tmp_path, "city,y", "Lund,0", "Ystad,1", "Lund,2")) == []


@pytest.mark.parametrize(
    ("cells", "fields", "values", "way_out"),
    [
        (["1,900", "12", "2,500,000.5"], {"thousands": ","}, [1900, 12, 2500000.5], '`thousands: ","` reads them'),
        (["7,58", "12", "-0,5"], {"decimal": ","}, [7.58, 12, -0.5], '`decimal: ","` reads them'),
        (
            ["1.900,5", "2.100", "3"],
            {"decimal": ",", "thousands": "."},
            [1900.5, 2100, 3],
            '`thousands: "."` and `decimal: ","` reads them',
        ),
        (["1 900", "12", "13"], {"thousands": " "}, [1900, 12, 13], '`thousands: " "` reads them'),
        (["$1900", "$12", "$7.5"], None, None, "Take the signs out of the file"),
        (["12%", "5%", "7.5%"], None, None, "Take the signs out of the file"),
    ],
)
def test_numbers_with_separators_are_said_and_can_be_read(tmp_path, cells, fields, values, way_out):
    rows = ["a,y", *(f'"{cell}",{i}' for i, cell in enumerate(cells))]
    (said,) = warned(table(tmp_path, *rows))
    odd = next(cell for cell in cells if not cell.isdecimal())
    assert said.startswith("column `a` of a.csv is read as 3 different texts, and most of them are shaped like numb")
    assert f"such as `{odd}` | {way_out}" in said
    if fields is not None:
        source = table(tmp_path, *rows, **fields)
        assert inputs(source) == [[np.float32(value)] for value in values]
        assert pd.read_csv(source.path, **fields)["a"].tolist() == values
        assert warned(source) == []


def test_groups_that_are_not_of_three_digits_are_no_numbers(tmp_path):
    assert table(tmp_path, "a,y", '"1,90",0', '"2,500",1', thousands=",").facts().input == (2,)


def test_thousands_and_decimal_differ():
    with pytest.raises(ValueError, match=r"`thousands` and `decimal` are both `\.`: give two different ones"):
        Table(path="a.csv", target="y", thousands=".")


def test_labels_that_differ_by_a_leading_zero_are_different(tmp_path):
    source = table(tmp_path, "a,y", "5,01", "6,1", "7,2", "8,01", task="classification")
    sets = source.load()
    assert sets.class_names == ("01", "1", "2")
    assert sorted(zip(sets.train.x[:, 0].tolist(), sets.train.y.tolist(), strict=True)) == [
        (5, 0),
        (6, 1),
        (7, 2),
        (8, 0),
    ]
    assert warned(source) == [
        (
            "column `y` of a.csv is read as texts: `01` and `1` differ, and are one number | Write each number in "
            "one way, if numbers are meant; `categorical` says that texts are."
        )
    ]


def test_leading_zeros_alone_do_not_make_texts_of_numbers(tmp_path):
    rows = ["month,y", "01,0", "02,1", "12,2"]
    assert inputs(table(tmp_path, *rows)) == [[1], [2], [12]]
    codes = table(tmp_path, *rows, categorical=["month"])
    assert codes.facts().columns[0].because == "`categorical` names it; 3 texts, `01`, `02` and `12`"


def test_hexadecimal_is_no_number(tmp_path):
    source = table(tmp_path, "a,y", "0x10,0", "16,1")
    assert inputs(source) == [[1, 0], [0, 1]]


def test_the_test_file_is_read_as_the_first_one_is(tmp_path):
    source = table(tmp_path, "code,n,y", "01,1,0", "1,2,1", "x,3,2")
    other = tmp_path / "b.csv"
    other.write_text("code,n,y\n01,01,3\n1,1,4\n")
    sets = source.model_copy(update={"test_path": other}).load()
    assert sets.test.x.tolist() == [[1, 0, 0, 1], [0, 1, 0, 1]]
    other.write_text("code,n,y\n01,five,3\n")
    with pytest.raises(DataError, match=r"column `n` of .*b\.csv holds string, and numbers were trained on"):
        source.model_copy(update={"test_path": other}).load()


@pytest.mark.parametrize(("no", "yes"), [("no", "yes"), ("N", "Y"), ("f", "t")])
def test_yes_and_no_are_boolean_where_false_has_a_value(tmp_path, no, yes):
    rows = ["a,y", f"{yes},0", f"{no},1"]
    assert inputs(table(tmp_path, *rows, false_is=-1)) == [[1], [-1]]
    assert inputs(table(tmp_path, *rows, false_is=0)) == [[1], [0]]
    assert len(inputs(table(tmp_path, *rows))[0]) == 2


def test_a_value_of_false_that_no_column_takes_is_said(tmp_path):
    assert warned(table(tmp_path, "a,y", "1,0", "2,5", false_is=-1)) == [
        (
            "`false_is: -1` changes nothing: no column of a.csv is of true and false | It is for columns of true and "
            "false, yes and no, y and n, or t and f."
        )
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "a column of a.csv has no name"), ("Unnamed: 0", "column `Unnamed: 0` of a.csv is the index")],
)
def test_an_index_is_no_input(tmp_path, name, message):
    rows = [f"{name},a,y", "0,5,0", "3,6,1"]
    source = table(tmp_path, *rows)
    assert inputs(source) == [[5], [6]]
    assert warned(source)[0].startswith(message)
    assert source.facts().columns[0].taken_for == "left out"
    if name:
        assert inputs(table(tmp_path, *rows, columns=[name, "a"])) == [[0, 5], [3, 6]]


@pytest.mark.parametrize("name", [None, "number"])
def test_the_index_of_a_filtered_frame_is_no_input(tmp_path, name):
    frame = pd.DataFrame({"a": [5.0, 6, 7], "y": [0.0, 1, 2]}, pd.Index([10, 11, 12], name=name))
    frame[frame.a != 6].to_parquet(tmp_path / "a.parquet")
    source = Table(path=tmp_path / "a.parquet", target="y")
    assert inputs(source) == [[5], [7]]
    assert warned(source) == [
        (
            f"column `{name or '__index_level_0__'}` of a.parquet is the index of a data frame, and is left out | "
            "`columns` names all columns that are taken."
        )
    ]


def test_an_identifier_among_the_inputs_is_said(tmp_path):
    rows = ["id,y", *(f"p{i},{i}" for i in range(30))]
    assert warned(table(tmp_path, *rows)) == [
        (
            "column `id` of a.csv has 30 different texts in 30 rows, and each becomes an input | `drop: [id]` leaves "
            "it out."
        )
    ]


def test_several_columns_of_labels_are_said_to_be_fitted_as_values(tmp_path):
    rows = ["a,cat,dog,bird", "1,0,1,1", "2,1,0,1"]
    source = table(tmp_path, *rows, target=["cat", "dog", "bird"])
    (said,) = warned(source)
    assert said.startswith("the targets `cat`, `dog` and `bird` hold 0 and 1: labels, which are fitted as values")
    assert "`task: multilabel` takes several labels an example" in said
    assert warned(table(tmp_path, *rows, target=["cat", "dog", "bird"], task="regression")) == []


def test_each_column_says_what_it_is_taken_for_and_why(tmp_path):
    rows = ["id,size,grade,open,kind,n,y", *(f"{i},1.5,{'ab'[i % 2]},true,{'uv'[i % 2]},n/a,{i}" for i in range(2))]
    rows.append("2,3.5,b,false,u,7,2")
    source = table(tmp_path, *rows, drop=["id"], ordinal={"grade": ["a", "b"]}, log=["size"], missing="indicator")
    assert [(use.name, use.taken_for, use.inputs, use.because) for use in source.facts().columns] == [
        ("id", "left out", 0, "`drop` names it"),
        ("size", "numbers", 1, "all its texts are; `log` names it"),
        ("grade", "texts in an order", 1, "`ordinal` gives the order; 2 texts, `a` and `b`"),
        ("open", "true and false", 1, "all its texts are"),
        ("kind", "texts, an input each", 2, "2 texts, `u` and `v`"),
        ("n", "numbers", 2, "all its texts are; `n/a` stands for missing; an input more for missing values"),
        ("y", "target, values", 0, "all its texts are"),
    ]


def test_whole_numbers_are_classes_because_the_task_says_so(tmp_path):
    source = table(tmp_path, "a,y", "0.5,0", "1.5,1", task="classification")
    assert source.facts().columns[-1] == ColumnUse("y", "target, classes", 0, "`task` says so")


def test_a_column_of_another_encoding_is_named_and_can_be_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("a,b,y\nOslo,1,0\nMalmö,2,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"column `a` of .* is not UTF-8"):
        Table(path=path, target="y").facts()
    assert Table(path=path, target="y", drop=["a"]).facts().input == (1,)


def test_whole_numbers_beyond_double_precision_are_read(tmp_path):
    source = table(tmp_path, "a,y", "9007199254740993,0", "1,1")
    assert inputs(source) == [[2.0**53], [1]]


def test_inspect_shows_how_columns_are_used(tmp_path, capsys):
    table(tmp_path, ",area,floor,lift,y", "0,52,1,yes,900", "1,48,n/a,no,870", '2,75,3,yes,"1,240"')
    spec = tmp_path / "flats.yaml"
    fields = '{path: a.csv, target: y, missing: mean, thousands: ","}'
    spec.write_text(f"dlx: 1\ndata: {{table: {fields}}}\nnetwork: {{layers: [{{linear: 1}}]}}\n")
    cli.app(["inspect", str(spec)], standalone_mode=False)
    shown = capsys.readouterr()
    assert shown.out.split("receptive field global\n")[1] == (
        "\n"
        "column     taken for             inputs  because\n"
        "(no name)  left out                      no name\n"
        "area       numbers                    1  all its texts are\n"
        "floor      numbers                    1  all its texts are; `n/a` stands for missing\n"
        "lift       texts, an input each       2  2 texts, `no` and `yes`\n"
        "y          target, values                all its texts are\n"
    )
    assert shown.err == (
        f"{spec}:2:16  data.table.path: a column of {tmp_path / 'a.csv'} has no name, and is left out. `columns` "
        "names all columns that are taken.\n"
    )
    cli.app(["inspect", str(spec), "--json"], standalone_mode=False)
    message = json.loads(capsys.readouterr().out)["data"]["columns"]
    assert message[3] == {
        "name": "lift",
        "taken_for": "texts, an input each",
        "inputs": 2,
        "because": "2 texts, `no` and `yes`",
    }


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        (b"PK\x03\x04" + bytes(50), "It is an Excel or a zip file: save the table as CSV."),
        ("a,y\n1,2\n".encode("utf-16"), "It is UTF-16: save it as UTF-8."),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path, content, way_out):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError) as error:
        Table(path=tmp_path / "a.csv", target="y").facts()
    assert error.value.problems[0].hint == way_out


def test_a_first_line_of_numbers_is_said(tmp_path):
    assert warned(table(tmp_path, "1,2", "3,4", target="2")) == [
        (
            "all columns of a.csv have numbers for names: its first line may be a row | `names` gives the names "
            "where it is: `names: [a, b]`."
        )
    ]
    assert warned(table(tmp_path, "1,2.5", "3,4", target="b", names=["a", "b"])) == []


def test_byte_order_marks_line_ends_quotes_and_empty_lines(tmp_path):
    for text in (
        "\ufeffy,a\r\n1,2\r\n\r\n3,4\r\n",
        '"y","a"\n"1","2"\n"3","4"',
        "y,a\r1,2\r3,4\r",
        "y,a\n 1, 2\n3,+4\n",
    ):
        (tmp_path / "a.csv").write_bytes(text.encode())
        assert inputs(Table(path=tmp_path / "a.csv", target="y")) == [[2], [4]]


def test_fields_of_csv_are_not_for_parquet(tmp_path):
    pd.DataFrame({"a": [1.5, 2], "y": [0, 1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"`decimal` is for CSV files, and .*a\.parquet holds columns with names and"):
        Table(path=tmp_path / "a.parquet", target="y", decimal=",").facts()


def test_numbers_that_no_class_can_have(tmp_path):
    pd.DataFrame({"a": [1.5, 2], "y": [2**62, 1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"holds the class 4\.611686018427388e"):
        Table(path=tmp_path / "a.parquet", target="y", task="classification").facts()


def test_columns_of_parquet_that_are_no_numbers_or_texts_are_named(tmp_path):
    columns = {
        "list<element: int64>": pa.array([[1, 2]]),
        "struct<a: int64>": pa.array([{"a": 1}]),
        "duration[ns]": pa.array([0], pa.duration("ns")),
        "binary": pa.array([b"a"]),
    }
    for kind, column in columns.items():
        pq.write_table(pa.table({"a": column, "y": [1]}), tmp_path / "a.parquet")
        with pytest.raises(DataError) as error:
            Table(path=tmp_path / "a.parquet", target="y").facts()
        assert f"holds {kind}, and inputs are made of numbers, true and false, dates, and texts" in str(error.value)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([Decimal("1.25"), Decimal("-2.50")]), [[1.25], [-2.5]]),
        (pa.array([3, 1]).dictionary_encode(), [[3], [1]]),
        (pa.array(["v", "u"]).dictionary_encode(), [[0, 1], [1, 0]]),
        (pa.array(["v", "u"], pa.string_view()), [[0, 1], [1, 0]]),
        (pa.array([2**64 - 1, 0], pa.uint64()), [[2.0**64], [0]]),
        (pa.array(np.array([0.5, 2], np.float16)), [[0.5], [2]]),
    ],
)
def test_columns_of_parquet_of_rare_types(tmp_path, column, values):
    pq.write_table(pa.table({"a": column, "y": [0.0, 1.5]}), tmp_path / "a.parquet")
    assert inputs(Table(path=tmp_path / "a.parquet", target="y")) == values


def asked(source: Table, *rows: str) -> list[list[float]]:
    """Inputs of a file that comes after training."""
    path = source.path.with_name("new.csv")
    path.write_text("".join(f"{row}\n" for row in rows))
    found = input_record.of(source, source.load(), {})
    return found.prepared(source.new_inputs(path, found).x).tolist()


def test_a_file_after_training_is_read_as_the_first_one_was(tmp_path):
    rows = ["size,code,open,n,y", 'small,01,yes,"1,000",0', 'large,1,no,"2,000",1', "small,x,yes,3,2"]
    source = table(tmp_path, *rows, ordinal={"size": ["small", "large"]}, thousands=",", false_is=-1)
    assert inputs(source) == [[0, 1, 0, 0, 1, 1000], [1, 0, 1, 0, -1, 2000], [0, 0, 0, 1, 1, 3]]
    assert asked(source, "size,code,open,n", 'large,01,no,"1,500"') == [[1, 1, 0, 0, -1, 1500]]
    assert asked(source, "size,code,open,n", "large,1,yes,7") == [[1, 0, 1, 0, 1, 7]]
    with pytest.raises(DataError, match=r"column `n` of .* holds texts, and numbers were trained on"):
        asked(source, "size,code,open,n", "large,1,yes,many")


def test_seconds_are_standardised_after_training_too(tmp_path):
    rows = ["t,y", *(f"{1_700_000_000 + i},{i}" for i in range(140))]
    source = table(tmp_path, *rows, standardize="feature")
    standard = (np.arange(140) - 69.5) / np.arange(140).std()
    np.testing.assert_allclose(np.ravel(inputs(source)), standard, rtol=1e-6)
    np.testing.assert_allclose(asked(source, "t", "1700000069")[0], standard[69], rtol=1e-6)
    (said,) = warned(source.model_copy(update={"standardize": "none"}))
    assert said == (
        "column `t` of a.csv has 140 different values, and 2 of them in 32 bits | `standardize: feature` takes the "
        "mean off before."
    )


def test_looking_at_a_table_imports_neither_torch_nor_pandas(tmp_path):
    table(tmp_path, "a,b,y", "1,u,0", "2,v,1")
    (tmp_path / "s.yaml").write_text(
        "data: {table: {path: a.csv, target: y, task: classification}}\nnetwork: {layers: [{linear: 2}]}\n"
    )
    script = (
        "import sys; from dlx import cli; cli.app(['inspect', 's.yaml'], standalone_mode=False);"
        "print(sorted({'torch', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_columns_and_warnings_are_reported_where_rows_are_left_out(tmp_path):
    rows = ["a,b,y", "$1,1,0", "$2,,1", "$3,3,2"]
    facts = table(tmp_path, *rows, missing="drop").facts()
    assert [(use.name, use.inputs, use.because) for use in facts.columns] == [
        ("a", 2, "2 texts, `$1` and `$3`"),
        ("b", 1, "all its texts are"),
        ("y", 0, "all its texts are"),
    ]
    assert facts.warnings == table(tmp_path, *rows, missing={"b": "mean"}).facts().warnings != ()
