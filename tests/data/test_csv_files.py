"""A CSV file is read with inferred types, and as texts only where those could have lost something."""

from __future__ import annotations

import gzip
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest

from dlx.data.tables import csv_files
from dlx.data.tables.cells import ColumnType, Notation, typed
from dlx.data.tables.csv_files import Delimited
from dlx.data.tables.frame import read
from dlx.data.tables.table import Table
from dlx.errors import DataError


def written(folder: Path, *cells: str) -> Path:
    path = folder / "a.csv"
    path.write_text("".join(f"{line}\n" for line in ("a", *cells)))
    return path


@pytest.fixture
def reads(monkeypatch) -> list[object]:
    """The columns of each read of a file; None for all."""
    found: list[object] = []
    plain = Delimited._read

    def counted(self, **converting):
        found.append(converting.get("include_columns"))
        return plain(self, **converting)

    monkeypatch.setattr(Delimited, "_read", counted)
    return found


COLUMNS = {
    "whole": ["1", "-20", "0", "NA"],
    "fractions": ["0.5", "-0.25", "1e-05", ".5", "5."],
    "codes": ["007", "7", "10"],
    "padded": ["007", "012"],
    "signed": ["-007", "3"],
    "plus": ["+05", "5"],
    "fractions with zeros": ["00.5", "0.5"],
    "hexadecimal": ["0x1F", "12"],
    "quoted": ['"0"', '"007"', "7"],
    "partly quoted": ['"0"12', "12"],
    "spaces": [" 07", "7"],
    "tabs": ["\t07", "7"],
    "true": ["true", "False"],
    "true and spaces": ["true ", " FALSE"],
    "marks": ["1", "n/a"],
    "not finite": ["1.5", "NAN", "inf"],
    "dates": ["2020-01-05", "1999-12-31"],
    "times": ["12:05", "09:30"],
    "dates with times": ["2020-01-05 10:11", "1999-12-31"],
    "dates with a zone": ["2020-01-05T10:11:12+01:00", "1999-12-31T00:00:00Z"],
    "large": ["99999999999999999999", "1"],
    "texts": ["A-07", "B01"],
    "nothing": ["NA", "?"],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_the_type_that_its_texts_have(tmp_path, name):
    path = written(tmp_path, *COLUMNS[name])
    plain = read(path)
    texts = Delimited(path).texts(["a"], len(plain)).column("a")
    notations: list[Notation] = [Notation(), Notation(thousands=".", decimal=",")]
    sorts: list[ColumnType | None] = [None, "number", "text"]
    for notation, apart, sort in product(notations, (False, True), sorts):
        frame = plain.typed(notation, ["a"] if apart else [], {"a": sort} if sort else None)
        by_texts = typed(texts, notation, "a", f"column `a` of {path}", apart, sort)
        assert frame.table.column("a").type == by_texts.column.type
        assert repr(frame.table.column("a").to_pylist()) == repr(by_texts.column.to_pylist())
        assert frame.why == {"a": by_texts.why}
        assert frame.warnings == ({"a": by_texts.warning} if by_texts.warning else {})


def test_numbers_without_leading_zeros_are_read_once(tmp_path, reads):
    path = tmp_path / "a.csv"
    path.write_text("day,x,n,ok,kind\n2020-01-05,0.5,10,true,a-07\n2021-01-05,1e-05,0,false,b\n")
    frame = read(path).only(["x", "n", "ok", "kind"]).typed(Notation())
    assert frame.table.schema.types == [pa.float64(), pa.int64(), pa.bool_(), pa.string()]
    assert reads == [None]


def test_columns_that_may_have_lost_something_are_read_again(tmp_path, reads):
    path = tmp_path / "a.csv"
    path.write_text("zip,ok,kind\n007,true,a\n7,false,b\n")
    frame = read(path).typed(Notation())
    assert frame.table.column("zip").to_pylist() == ["007", "7"]
    assert reads == [None, ["zip"]]


def test_a_file_that_grows_between_the_reads_is_reported(tmp_path):
    frame = read(written(tmp_path, "007", "7"))
    written(tmp_path, "007", "7", "8")
    with pytest.raises(DataError, match=r"a\.csv was changed while it was read"):
        frame.typed(Notation())


PADDED = ("07", "-07", "0x1F", '"0"7', '"07"', "+00.5", " 07")
OTHERS = ("0.7", "1e-07", "2020-01-05", '"0"', "a07", "10")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("cell", [*PADDED, *OTHERS])
def test_a_leading_zero_is_found_wherever_it_lies(tmp_path, monkeypatch, cell, zipped):
    monkeypatch.setattr(csv_files, "BLOCKS", (16, 2**24))
    path = tmp_path / ("a.csv.gz" if zipped else "a.csv")
    for before in range(18):
        data = f"a;b\n{'1' * before};{cell}\n".encode()
        path.write_bytes(gzip.compress(data) if zipped else data)
        assert Delimited(path, delimiter=";").padded is (cell in PADDED), before


def test_it_is_found_at_the_begin_and_at_the_end_of_a_file(tmp_path):
    for data in (b"07", b"1,07", b"\xef\xbb\xbf07\n", b"1\r07\r"):
        (tmp_path / "a.csv").write_bytes(data)
        assert Delimited(tmp_path / "a.csv", names=["a"]).padded


def test_rows_that_are_longer_than_a_block_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "BLOCKS", (64, 2**24))
    assert read(written(tmp_path, "x" * 200, "y")).table.column("a").to_pylist() == ["x" * 200, "y"]


def test_texts_of_numbers_are_in_one_order_and_nan_is_last(tmp_path):
    rows = [("NAN", 0), ("00.5", 1), ("-nan", 2), ("0.5", 3), ("7", 4), ("inf", 5), ("-2", 6), ("nAn", 7)]
    path = tmp_path / "a.csv"
    path.write_text("a,y\n" + "".join(f"{a},{y}\n" for a, y in rows))
    reading = Table(path=path, target="y").load().reading
    assert reading is not None
    assert reading["columns"][0]["texts"] == ("-2", "0.5", "00.5", "7", "inf", "-nan", "NAN", "nAn")


LATE = {"number": "0.5", "text": "late", "quote": '"two\nlines"', "wide": "1,2"}


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", LATE)
def test_types_of_the_first_block_hold_unless_a_later_text_does_not_fit(tmp_path, monkeypatch, name, zipped, ending):
    monkeypatch.setattr(csv_files, "BLOCKS", (64, 2**24))
    path = tmp_path / ("a.csv.gz" if zipped else "a.csv")
    newline = ending or "\n"
    data = newline.join(["n,m", *(f"{i},{i}.5" for i in range(40)), f"7,{LATE[name]}"]) + ending
    path.write_bytes(gzip.compress(data.encode()) if zipped else data.encode())
    if name == "wide":
        with pytest.raises(DataError, match="Expected 2 columns, got 3"):
            read(path)
        return
    column = read(path).table.column("m").to_pylist()
    assert column[-1] == (0.5 if name == "number" else LATE[name].strip('"'))
    assert column[:2] == ([0.5, 1.5] if name == "number" else ["0.5", "1.5"])


def test_the_first_types_are_of_whole_lines(tmp_path, monkeypatch):
    """The first block ends within `12345`, whose beginning is a number of another type than its end."""
    monkeypatch.setattr(csv_files, "BLOCKS", (8, 2**24))
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n1234.5\n")
    assert Delimited(path)._first_types() == {"a": pa.int64()}
    assert read(path).table.column("a").to_pylist() == [1.0, 1234.5]
