"""Dates and times of a table as inputs."""

from __future__ import annotations

from datetime import datetime
from math import cos, pi, sin

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dlx.data import input_record
from dlx.data.tables.date_parts import DateOptions, part_of
from dlx.data.tables.table import Table
from dlx.errors import DataError

PARTS = ["year", "quarter", "month", "week", "day", "weekday", "day_of_year", "hour", "minute", "second", "timestamp"]


def table(folder, *rows, **fields) -> Table:
    (folder / "a.csv").write_text("".join(f"{row}\n" for row in rows))
    return Table(path=folder / "a.csv", **({"target": "y"} | fields))


def inputs(source: Table) -> np.ndarray:
    """In the order of the file, whose targets count its rows."""
    train = source.load().train
    return train.x[np.argsort(train.y[:, 0])]


def refusal_of(source: Table) -> str:
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{source.path.parent}/", "")


def test_parts_that_repeat_are_points_on_a_circle(tmp_path):
    x = inputs(table(tmp_path, "d,y", "2024-02-29,0", "2023-12-31,1"))
    # day 29 of a month of 29, Thursday; day 31 of 31, Sunday
    phases = [(1 / 12, 28 / 29, 3 / 7), (11 / 12, 30 / 31, 6 / 7)]
    by_hand = [
        [year, *(wave(2 * pi * phase) for phase in row for wave in (sin, cos))]
        for year, row in zip((2024, 2023), phases, strict=True)
    ]
    np.testing.assert_allclose(x, by_hand, atol=1e-6)


def test_parts_are_those_of_pandas():
    texts = ["1969-12-31T23:59:59.5", "2024-12-30T00:00:00", "2000-02-29T13:45:06.25", "2021-01-03T04:05:06"]
    moments = pd.to_datetime(pd.Series(texts), format="ISO8601")
    column = pa.chunked_array([pa.array(texts).cast(pa.timestamp("us"))])
    theirs = {
        "week": moments.dt.isocalendar().week,
        "weekday": moments.dt.day_of_week,
        "second": moments.dt.second + moments.dt.microsecond / 1e6,
        "timestamp": (moments - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(1, "s"),
    }
    for part in PARTS:
        known = theirs[part] if part in theirs else getattr(moments.dt, part)
        np.testing.assert_array_equal(part_of(column, part), known.to_numpy(float), err_msg=part)


def test_parts_are_chosen_by_column_and_can_be_plain_numbers(tmp_path):
    rows = ["d,e,y", "2024-02-29 10:30,2020-01-02,0", "2023-12-31 23:15,2020-03-04,1"]
    dates = {"d": {"parts": ["month", "hour", "minute"], "cyclic": False}, "*": ["year"]}
    assert inputs(table(tmp_path, *rows, dates=dates)).tolist() == [[2, 10, 30, 2020], [12, 23, 15, 2020]]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d.%m.%Y", "9.2.2024"),
        ("%m/%d/%y", "02/09/24"),
        ("%Y%m%d", "20240209"),
        ("%d %b %Y", "09 Feb 2024"),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-02-09 00:00:00.5"),
    ],
)
def test_formats_are_those_of_python(tmp_path, form, text):
    source = table(tmp_path, "d,y", f'"{text}",0', dates={"d": {"format": form, "parts": ["year", "month", "day"]}})
    source = source.model_copy(
        update={"dates": {"d": DateOptions(format=form, parts=["month", "day"], cyclic=False)}}
    )
    then = datetime.strptime(text, form)
    assert inputs(source).tolist() == [[then.month, then.day]] == [[2, 9]]


def test_times_of_a_day_and_zones(tmp_path):
    plain = {"*": {"parts": ["hour", "minute"], "cyclic": False}}
    rows = ["d,t,y", "2024-01-31T23:30:00+02:00,08:05,0", "2024-01-31T23:30:00Z,17:59:30,1"]
    assert inputs(table(tmp_path, *rows, dates=plain)).tolist() == [[21, 30, 8, 5], [23, 30, 17, 59]]


def test_parquet_keeps_the_zone_of_its_column(tmp_path):
    moments = pa.array(["2024-01-31T23:30:00Z"]).cast(pa.timestamp("ns", "UTC"))
    columns = {"d": moments.cast(pa.timestamp("ns", "Europe/Berlin")), "e": ["2024-05-01"], "y": [0.0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    dates = {"d": {"parts": ["day", "hour"], "cyclic": False}, "e": {"parts": ["month"], "cyclic": False}}
    # Texts of a parquet file are texts, unless `dates` names them
    assert inputs(Table(path=tmp_path / "a.parquet", target="y", dates=dates)).tolist() == [[1, 0, 5]]


def test_a_column_of_dates_says_why_and_what_of(tmp_path):
    source = table(tmp_path, "d,e,y", "2024-01-31,1.2.2023,0", "2024-02-29,3.4.2023,2")
    day, text, _ = source.facts().columns
    assert (day.taken_for, day.inputs, day.because) == (
        "dates",
        7,
        "all its texts are; year; sine and cosine of month, day, weekday",
    )
    assert text.taken_for == "texts, an input each"
    (said,) = source.facts().warnings
    assert said.message.endswith("as 2 different texts, and most of them are shaped like dates, such as `1.2.2023`")
    assert said.hint == '`dates: {e: {format: "%d.%m.%Y"}}` reads them; `categorical` says that texts are meant.'
    read = table(tmp_path, "e,y", "1.2.2023,0", "3.4.2023,2", dates={"e": {"format": "%d.%m.%Y"}}).facts()
    assert read.columns[0].because.startswith("of the format `%d.%m.%Y`; year")
    assert not read.warnings


def test_day_and_month_that_may_be_either_are_said_both_ways(tmp_path):
    (said,) = table(tmp_path, "e,y", "01/02/2023,0", "03/04/2023,2").facts().warnings
    assert '"%d/%m/%Y"' in said.hint
    assert '"%m/%d/%Y"' in said.hint
    (said,) = table(tmp_path, "e,y", "01/02/2023,0", "03/14/2023,2").facts().warnings
    assert '"%d/%m/%Y"' not in said.hint


@pytest.mark.parametrize(
    ("rows", "fields", "sentence"),
    [
        (
            ["2024-01-31", "2024-02-30", "2024-03-01"],
            {},
            (
                "row 2 of column `d` of a.csv holds `2024-02-30`, which is no date, and most of its texts are | "
                '`na_values: ["2024-02-30"]` takes it for a missing value; `categorical` says that texts are meant.'
            ),
        ),
        (
            ["2024-01-31", "2024-02-01", "soon"],
            {},
            "row 3 of column `d` of a.csv holds `soon`, which is no date, and most of its texts are | ",
        ),
        (
            ["31.12.2023", "31.02.2024"],
            {"dates": {"d": {"format": "%d.%m.%Y"}}},
            "row 2 of column `d` of a.csv holds `31.02.2024`, which is no date of the format `%d.%m.%Y` | ",
        ),
        (
            ["31.12.2023", "28.02.2024"],
            {"dates": {"d": {}}},
            (
                "row 1 of column `d` of a.csv holds `31.12.2023`, which is no date | "
                '`dates: {d: {format: "%d.%m.%Y"}}` reads dates of another form; '
            ),
        ),
        (
            ["2024-01-31T10:00:00Z", "2024-01-31T10:00:00"],
            {},
            "row 2 of column `d` of a.csv holds `2024-01-31T10:00:00`, which has no zone, and others have | ",
        ),
        (
            ["2024-01-31"],
            {"dates": {"d": ["hour"]}},
            (
                "column `d` of a.csv holds dates without a time, which have no `hour`, and `dates` asks for it | "
                "Write `dates: {d: [year, month, day, weekday]}`."
            ),
        ),
        (["10:30"], {"dates": {"d": ["year"]}}, "column `d` of a.csv holds times of a day, which have no `year`, "),
        (["2024-01-31"], {"dates": {"e": ["year"]}}, "a.csv has no column `e`, which `dates` names | "),
        (["2024-01-31"], {"dates": {"y": ["year"]}}, "`dates` names `y` of a.csv, which is no input | "),
        (["2024-01-31"], {"log": ["d"]}, "column `d` of a.csv holds date32[day], which has no logarithm | "),
        (
            ["2024-01-31", ""],
            {"missing": {"d": {"constant": 3.0}}},
            "`missing` gives column `d` of a.csv the constant 3.0, and it holds dates | Take mean, ",
        ),
    ],
)
def test_dates_that_cannot_be_read(tmp_path, rows, fields, sentence):
    lines = (f"{text},{i}" for i, text in enumerate(rows))
    assert refusal_of(table(tmp_path, "d,y", *lines, **fields)).startswith(sentence)


def test_a_date_is_no_target(tmp_path):
    assert refusal_of(table(tmp_path, "a,y", "1,2024-01-31")) == (
        "column `y` of a.csv holds dates, and targets are numbers or classes | "
        "Write it as a number, such as the days since a day."
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dates": {"d": ["year"]}, "categorical": ["d"]}, "`dates` and another option are both for `d`: keep one"),
        (
            {"dates": {"*": {"format": "%Y"}}},
            "`dates` gives `*` a format, and it is for dates in ISO 8601: name the columns",
        ),
    ],
)
def test_options_that_contradict_each_other(fields, sentence):
    with pytest.raises(ValidationError, match="Value error") as raised:
        Table(path="a.csv", target="y", **fields)
    assert str(raised.value.errors()[0]["ctx"]["error"]) == sentence


def test_dates_that_are_names_stay_texts(tmp_path):
    source = table(tmp_path, "d,y", "2024-01-31,0", "2023-01-31,1", "2024-01-31,2", categorical=["d"])
    assert inputs(source).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_missing_dates_are_filled_in(tmp_path):
    rows = ["d,y", "2020-01-31,0", ",1", "2022-03-31,2"]
    dates = {"d": {"parts": ["year", "month"], "cyclic": False}}
    assert inputs(table(tmp_path, *rows, dates=dates, missing="mean")).tolist() == [[2020, 1], [2021, 2], [2022, 3]]
    marked = inputs(table(tmp_path, *rows, dates=dates, missing="indicator"))
    assert marked.tolist() == [[2020, 1, 0], [2021, 2, 1], [2022, 3, 0]]


def test_seconds_since_1970_keep_their_digits_until_they_are_standardised(tmp_path):
    """A second apart: in 32 bits, whose step is 128 there, all three are one value."""
    rows = ["d,n,y", *(f"2023-11-14T22:13:{20 + i},{1_700_000_000 + i},{i}" for i in range(3))]
    assert len({np.float32(1_700_000_000 + i) for i in range(3)}) == 1
    source = table(tmp_path, *rows, dates={"d": ["timestamp"]}, standardize="feature")
    by_hand = np.array([-1, 0, 1]) / np.sqrt(2 / 3)
    np.testing.assert_allclose(inputs(source), np.stack([by_hand, by_hand], 1), rtol=1e-6)
    for said in source.model_copy(update={"standardize": "none"}).facts().warnings:
        assert "has 3 different values, and 1 of them in 32 bits" in said.message
        assert said.hint == "`standardize: feature` takes the mean off before."


def test_sines_are_not_standardised(tmp_path):
    x = inputs(
        table(tmp_path, "d,y", "2020-01-31,0", "2022-04-30,1", dates={"d": ["year", "month"]}, standardize="feature")
    )
    np.testing.assert_allclose(x, [[-1, 0, 1], [1, 1, 0]], atol=1e-6)


def test_later_files_and_frames_are_read_by_the_same_format(tmp_path):
    dates = {"d": {"format": "%d.%m.%Y", "parts": ["day", "month"], "cyclic": False}}
    source = table(tmp_path, "d,e,y", "31.12.2023,2024-01-31,0", "30.11.2023,2024-01-30,1", dates=dates)
    input_record.save(tmp_path, input_record.of(source, source.load(), {}))
    record = input_record.load(tmp_path)
    (tmp_path / "b.csv").write_text("e,d\n2024-01-31 12:00,1.2.2024\n")
    x = source.new_inputs(tmp_path / "b.csv", record).x
    assert x[0, :3].tolist() == [1, 2, 2024]
    from dlx.data.python_inputs import read

    frame = pd.DataFrame({"d": ["1.2.2024"], "e": [pd.Timestamp("2024-01-31")]})
    np.testing.assert_array_equal(source.from_memory(read(frame), record).x, x)
    (tmp_path / "b.csv").write_text("e,d\n2024-01-31,2024-02-01\n")
    with pytest.raises(DataError, match="holds `2024-02-01`, which is no date of the format"):
        source.new_inputs(tmp_path / "b.csv", record)
    (tmp_path / "b.csv").write_text("e,d\n12:30,1.2.2024\n")
    with pytest.raises(DataError, match="holds times of a day, and dates without a time were trained on"):
        source.new_inputs(tmp_path / "b.csv", record)
