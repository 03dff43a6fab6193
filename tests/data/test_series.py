"""Windows of series from files: parts by time, scales, and what is refused before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dlx.data import input_record
from dlx.data.python_inputs import read as from_python
from dlx.data.series import rows
from dlx.data.series.series import Series
from dlx.errors import DataError
from dlx.shapes import Shape


def written(folder: Path, lines: list[str], header: str = "t,y", name: str = "s.csv") -> Path:
    (folder / name).write_text("\n".join([header, *lines]) + "\n")
    return folder / name


def counted(folder: Path, n: int = 20) -> Path:
    """One series y(t) = 10 t of n rows."""
    return written(folder, [f"{t},{10 * t}" for t in range(n)])


def two(folder: Path, n: int = 20) -> Path:
    """Series `a` from 0 and `b` from 1000, row by row beside each other, with a column known ahead."""
    lines = [f"2024-01-{t + 1:02},{g},{t + 1000 * (g == 'b')},{t % 2}" for t in range(n) for g in "ab"]
    return written(folder, lines, "day,name,y,k")


def refusal_of(source: Series) -> str:
    with pytest.raises(DataError) as raised:
        source.facts()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{source.path.parent}/", "")


def test_an_example_is_a_window_and_the_rows_after_it(tmp_path):
    train = Series(path=counted(tmp_path), values="y", time="t", window=3, horizon=2).load().train

    assert train.x.shape == (16, 3, 1)
    assert train.x[0, :, 0].tolist() == [0, 10, 20]
    assert train.y[0].tolist() == [30, 40]
    assert train.y[-1].tolist() == [180, 190]
    assert train.more["id"][[0, -1]].tolist() == ["2", "17"]


def test_stride_is_from_one_example_to_the_next(tmp_path):
    train = Series(path=counted(tmp_path), values="y", time="t", window=3, horizon=2, stride=5).load().train
    assert train.y[:, 0].tolist() == [30, 80, 130, 180]


def test_several_values_and_columns_of_the_past_and_of_what_is_known(tmp_path):
    path = written(tmp_path, [f"{t},{t * 2},{t * 3},{t * 4},{t * 5}" for t in range(9)], "t,a,b,p,k")
    source = Series(path=path, values=["a", "b"], time="t", past=["p"], known=["k"], window=3, horizon=2)
    facts, train = source.facts(), source.load().train

    assert facts.fields["input"].shape == Shape((3, 3))
    assert facts.fields["known"].shape == Shape((5, 1))
    assert facts.target == Shape((2, 2))
    assert train.x[0].tolist() == [[0, 0, 0], [2, 3, 4], [4, 6, 8]]
    assert train.more["known"][0, :, 0].tolist() == [0, 5, 10, 15, 20]
    assert train.y[0].tolist() == [[6, 9], [8, 12]]


def test_no_part_has_targets_of_another(tmp_path):
    sets = Series(
        path=counted(tmp_path), values="y", time="t", window=3, horizon=2, valid=4, test=0.25
    ).load()  # 20 times: 0 to 10 train, 11 to 14 valid, 15 to 19 test
    targets = {name: sorted(set((part.y / 10).ravel().tolist())) for name, part in sets.parts().items()}

    assert targets == {
        "train": list(range(3, 11)),
        "valid": [11, 12, 13, 14],
        "test": [15, 16, 17, 18, 19],
    }
    assert sets.test.x[0, :, 0].tolist() == [120, 130, 140]  # its past reaches into the parts before


def test_parts_are_cut_at_the_same_times_for_all_series(tmp_path):
    """Series `b` begins at time 8: it has less to train on, and the same test part."""
    lines = [f"{t},a,{t}" for t in range(20)] + [f"{t},b,{t}" for t in range(8, 20)]
    source = Series(path=written(tmp_path, lines, "t,g,y"), values="y", time="t", group="g", window=2, test=5)
    sets = source.load()
    names = np.array([one.split()[0] for one in sets.test.more["id"]])

    assert sets.test.y[:, 0].tolist() == [15, 16, 17, 18, 19] * 2
    assert (names == "b").sum() == 5
    assert [one.split()[0] for one in sets.train.more["id"]].count("b") == 5  # targets 10 to 14


def test_scales_are_those_of_the_training_part(tmp_path):
    path = two(tmp_path)
    options = {"path": path, "values": "y", "time": "day", "group": "name", "window": 3, "test": 5}
    alone = Series(**options, standardize="series").load()
    every = Series(**options, standardize="global").load()
    first = np.arange(15.0)  # the training rows of `a`

    assert alone.train.more["scale"][0, :, 0] == pytest.approx([first.mean(), first.std(), 1])
    assert alone.train.x[0, :, 0] == pytest.approx((first[:3] - first.mean()) / first.std(), abs=1e-6)
    both = np.concatenate([first, first + 1000])
    assert every.test.more["scale"][-1, :, 0] == pytest.approx([both.mean(), both.std(), 1])
    assert alone.train.y[0].tolist() == [3]  # targets stay in their own unit
    assert len(alone.series) == 2
    assert alone.series[1][:, 0] == pytest.approx((first - first.mean()) / first.std())


def test_the_naive_error_is_of_a_season_before(tmp_path):
    path = written(tmp_path, [f"{t},{v}" for t, v in enumerate([1, 5, 2, 7, 2, 9, 50, 90])])
    options = {"path": path, "values": "y", "time": "t", "window": 2, "test": 2}
    assert Series(**options).load().train.more["scale"][0, 2, 0] == pytest.approx((4 + 3 + 5 + 5 + 7) / 5)
    assert Series(**options, period=2).load().train.more["scale"][0, 2, 0] == pytest.approx((1 + 2 + 0 + 2) / 4)


def test_months_and_years_are_even_steps(tmp_path):
    ends = ["2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31"]
    starts = ["2023-11-01", "2023-12-01", "2024-01-01", "2024-02-01", "2024-03-01"]
    for days in (ends, starts):
        path = written(tmp_path, [f"{day},{i}" for i, day in enumerate(days)])
        assert len(Series(path=path, values="y", time="t", window=2).load().train) == 3


def test_parquet_and_csv_give_the_same(tmp_path):
    path = two(tmp_path)
    table = {"day": [], "name": [], "y": [], "k": []}
    for line in path.read_text().splitlines()[1:]:
        for column, value in zip(table, line.split(","), strict=True):
            table[column].append(value if column in ("day", "name") else float(value))
    table["day"] = pa.array(table["day"]).cast(pa.date32())
    pq.write_table(pa.table(table), tmp_path / "s.parquet")
    options = {"values": "y", "time": "day", "group": "name", "known": ["k"], "window": 3, "test": 5}
    first, second = (Series(path=one, **options).load() for one in (path, tmp_path / "s.parquet"))
    assert first.digest == second.digest


def test_the_file_is_read_once_for_facts_and_load(tmp_path, monkeypatch):
    import os

    path = counted(tmp_path)
    os.utime(path, (1, 1))  # long unchanged
    source, read = Series(path=path, values="y", time="t", window=3), []
    original = rows.rows_of
    monkeypatch.setattr("dlx.data.series.series.rows_of", lambda *a: read.append(1) or original(*a))
    source.facts()
    source.load()
    assert len(read) == 1


LINE = [f"{t},{t}" for t in range(9)]
MESSAGES = {
    "a column that is not there": (LINE, {"values": "z"}, "s.csv has no column `z`, which `values` names"),
    "rows that are not sorted": (
        ["1,1", "3,2", "2,3"],
        {},
        (
            "row 3 of column `t` of s.csv holds `2`, which is before `3` of row 2 | "
            "Sort the rows by time; `group: COLUMN` takes several series apart that stand one after the other."
        ),
    ),
    "a time twice": (
        ["1,1", "2,2", "2,3"],
        {},
        (
            "row 3 of column `t` of s.csv repeats `2`, which row 2 has | "
            "`group: COLUMN` takes several series apart; else take one out."
        ),
    ),
    "a gap": (
        ["2024-01-01,1", "2024-01-02,2", "2024-01-05,3", "2024-01-06,4"],
        {},
        (
            "row 3 of column `t` of s.csv holds `2024-01-05`, 3 days after row 2, and most rows are 1 day apart | "
            "Put in the rows between, which `missing` fills; `missing_steps: ignore` takes rows for steps."
        ),
    ),
    "a missing value": (
        ["1,1", "2,", "3,3", "4,4"],
        {},
        (
            "values are missing in s.csv, first in row 2 of column `y`; of 4 rows: `y` 1 | "
            "`missing: previous` takes the value before; or fill them in."
        ),
    ),
    "the first value": (
        ["1,", "2,2", "3,3", "4,4"],
        {"missing": "previous"},
        (
            "row 1 of column `y` of s.csv is missing, and no value is before it | "
            "Fill it in, or take the rows out up to the first value."
        ),
    ),
    "a series that is too short": (
        ["1,1", "2,2", "3,3"],
        {"window": 3},
        "s.csv has 3 rows, and an example takes `window` 3 + `horizon` 1 = 4 | Give a smaller `window`.",
    ),
    "a test part without an example": (
        LINE,
        {"horizon": 3, "test": 2},
        "the part `test` has 2 times of a series at most, and one example takes `horizon` 3 | Give a larger `test`.",
    ),
    "a training part without one": (
        LINE,
        {"window": 5, "test": 4},
        (
            "the part `train` has 5 times of a series at most, and one example takes `window` 5 + `horizon` 1 | "
            "Hold out less, or give a smaller `window`."
        ),
    ),
    "no times to train on": (
        LINE,
        {"valid": 4, "test": 5},
        "no times are left to train on: `valid` 4 + `test` 5 out of 9",
    ),
    "dates of another form": (
        ["01.02.2024,1", "02.02.2024,2"],
        {},
        (
            "row 1 of column `t` of s.csv holds `01.02.2024`, which is neither a date nor a number | "
            '`time_format: "%d.%m.%Y"'
        ),
    ),
    "texts for values": (
        ["1,high", "2,low"],
        {},
        (
            "column `y` of s.csv holds texts, and a series is of numbers | "
            "Its first is `high`: `na_values: [...]` takes texts for missing values."
        ),
    ),
    "a time that is missing": (
        ["1,1", ",2"],
        {},
        "row 2 of column `t` of s.csv is missing, and each row has its time | Fill it in, or take the row out.",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_cannot_be_read_is_told_with_row_and_column(tmp_path, case):
    lines, options, says = MESSAGES[case]
    made = {"values": "y", "time": "t", "window": 2, **options}
    assert refusal_of(Series(path=written(tmp_path, lines), **made)).startswith(says)


def test_of_several_series_the_one_is_named(tmp_path):
    short = written(tmp_path, [*(f"{t},a,{t}" for t in range(9)), "1,b,1", "2,b,2"], "t,g,y")
    source = Series(path=short, values="y", time="t", group="g", window=2)
    assert refusal_of(source).startswith(
        "the series `b` has 2 rows, and an example takes `window` 2 + `horizon` 1 = 3"
    )

    late = written(tmp_path, [*(f"{t},a,{t}" for t in range(9)), *(f"{t},b,{t}" for t in range(5, 9))], "t,g,y")
    source = Series(path=late, values="y", time="t", group="g", window=2, test=4, standardize="series")
    with pytest.raises(DataError, match="the series `b` has 0 rows in the training part, and `standardize: series`"):
        source.load()
    missing = written(tmp_path, ["1,a,1", "2,,2"], "t,g,y")
    source = Series(path=missing, values="y", time="t", group="g", window=1)
    assert refusal_of(source).startswith(
        "row 2 of column `g` of s.csv is missing, and `group` names the series by it"
    )


def test_missing_values_and_gaps_have_a_way_out(tmp_path):
    path = written(tmp_path, ["1,1", "2,", "3,3", "7,4", "8,5"])
    train = Series(path=path, values="y", time="t", window=1, missing="previous", missing_steps="ignore").load().train
    assert train.x[:, 0, 0].tolist() == [1, 1, 3, 4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"known": ["y"]}, "the column `y` is named twice"),
        ({"valid": 0.5, "test": 0.5}, "`valid` 0.5 \\+ `test` 0.5 leave nothing to train on"),
        ({"time": None, "time_format": "%d"}, "`time_format` is of the column `time`, and none is named"),
        ({"season": 7}, "`period` is the number of rows of a season"),
    ],
)
def test_what_contradicts_itself(tmp_path, options, says):
    from dlx.registry import FAMILIES

    if "season" in options:
        assert says in FAMILIES["data"]["series"].field_hints["season"]
        return
    with pytest.raises(ValidationError, match=says):
        Series(**{"path": counted(tmp_path), "values": "y", "time": "t", **options})


class TestNewInputs:
    """`dlx predict` answers for the last window of each series."""

    def source(self, path: Path, **more) -> Series:
        return Series(path=path, values="y", time="day", group="name", window=3, horizon=2, test=5, **more)

    def record(self, source: Series):
        return input_record.of(source, source.load(), {})

    def test_the_last_window_of_each_series(self, tmp_path):
        source = self.source(two(tmp_path), standardize="series")
        new = source.new_inputs(source.path, self.record(source))

        assert new.names == ("a 2024-01-20", "b 2024-01-20")
        moments = [7.0, np.arange(15.0).std()]
        assert new.x[0, :, 0] == pytest.approx((np.array([17, 18, 19]) - moments[0]) / moments[1])
        assert new.x[1] == pytest.approx(new.x[0])
        assert new.units[1, :, 0] == pytest.approx([1007, moments[1], 1])

    def test_what_is_known_ahead_is_read_from_rows_without_values(self, tmp_path):
        source = self.source(two(tmp_path), known=["k"])
        record = self.record(source)
        path = written(
            tmp_path, [f"2024-02-0{t + 1},a,{t if t < 4 else ''},{t}" for t in range(6)], "day,name,y,k", "n.csv"
        )
        new = source.new_inputs(path, record)
        assert new.names == ("a 2024-02-04",)
        assert new.more["known"][0, :, 0].tolist() == [1, 2, 3, 4, 5]

        written(tmp_path, [f"2024-02-0{t + 1},a,{t if t < 4 else ''},{t}" for t in range(5)], "day,name,y,k", "n.csv")
        with pytest.raises(
            DataError, match="has 1 row after the last value, and the network takes `k` of the next 2"
        ):
            source.new_inputs(path, record)

    def test_columns_from_memory_may_have_dates_as_texts(self, tmp_path):
        source = self.source(two(tmp_path))
        days = [f"2024-02-0{t + 1}" for t in range(4)]
        columns = {"day": days, "name": ["a"] * 4, "y": [1.0, 2, 3, 4]}
        new = source.from_memory(from_python(columns), self.record(source))
        assert new.names == ("a 2024-02-04",)
        assert new.x[0, :, 0].tolist() == [2, 3, 4]

    def test_a_strange_or_short_series_is_told(self, tmp_path):
        source = self.source(two(tmp_path), standardize="series")
        record = self.record(source)
        path = written(tmp_path, [f"2024-02-0{t + 1},c,{t}" for t in range(6)], "day,name,y", "n.csv")
        with pytest.raises(
            DataError, match=r"the series `c` of .* was not trained on, and each has a scale of its own"
        ):
            source.new_inputs(path, record)
        path = written(tmp_path, ["2024-02-01,a,1"], "day,name,y", "n.csv")
        with pytest.raises(DataError, match="has 1 row with values, and the network takes a window of 3"):
            source.new_inputs(path, record)

    def test_windows_from_memory_are_scaled_where_one_scale_is_of_all(self, tmp_path):
        source = self.source(two(tmp_path), standardize="global")
        record = self.record(source)
        both = np.concatenate([np.arange(15.0), np.arange(15.0) + 1000])
        new = source.from_memory(from_python([[[1.0], [2.0], [3.0]]]), record)
        assert new.x[0, :, 0] == pytest.approx((np.array([1, 2, 3]) - both.mean()) / both.std())
        own = self.source(two(tmp_path), standardize="series")
        with pytest.raises(DataError, match="are an array of windows, and each series has a scale of its own"):
            own.from_memory(from_python([[[1.0], [2.0], [3.0]]]), self.record(own))
