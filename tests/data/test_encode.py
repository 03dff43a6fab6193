"""Inputs are encoded straight into the parts of the split, to the bits of the whole table and its rows."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dlx.data.tables.columns import Column
from dlx.data.tables.encode import ALIGNED, ROWS, encode, encode_parts
from dlx.data.tables.frame import Frame
from dlx.data.tables.table import Table
from dlx.errors import DataError

MANY = 2 * ROWS + 500


def frame_of(**columns: Any) -> Frame:
    return Frame(Path("a.csv"), pa.table(columns))


@pytest.fixture
def frame() -> Frame:
    """Columns in chunks of different lengths, of which one has more digits than float32 in its last rows alone."""
    rng = np.random.default_rng(0)
    late = np.where(np.arange(MANY) < 2 * ROWS, 0.5, rng.random(MANY))
    gaps = pa.array(rng.integers(0, 9, MANY), mask=rng.random(MANY) < 0.1)
    words = rng.choice(["a", "b", "c"], MANY)
    pieces = [pa.array(some) for some in np.split(late, [7, 5000])]
    return frame_of(late=pa.chunked_array(pieces), gaps=gaps, word=words, positive=rng.random(MANY) + 1)


COLUMNS = (
    Column("late", "number"),
    Column("gaps", "number", filled=True, marked=True),
    Column("word", "category", ("a", "b", "c")),
    Column("positive", "number", log=True),
)


def by_hand(frame: Frame) -> np.ndarray:
    """The inputs, value by value, in double precision."""
    rows = []
    for row in frame.table.to_pylist():
        gap = nan if row["gaps"] is None else row["gaps"]
        words = [float(row["word"] == word) for word in "abc"]
        rows.append([row["late"], gap, float(row["gaps"] is None), *words, np.log(row["positive"])])
    return np.array(rows)


@pytest.mark.parametrize("exact", [False, True])
def test_all_rows_are_those_by_hand(frame, exact):
    x = encode(frame, COLUMNS, 0, exact)
    assert x.dtype == (np.float64 if exact else np.float32)
    np.testing.assert_array_equal(x, by_hand(frame).astype(x.dtype))


@pytest.mark.parametrize("exact", [False, True])
def test_each_part_has_its_rows_in_its_order(frame, exact):
    shuffled = np.random.default_rng(1).permutation(MANY)
    parts = [shuffled[:4321], shuffled[:0], shuffled[4321:4400], shuffled[4900:]]  # 500 rows are in no part
    whole = encode(frame, COLUMNS, 0, exact)
    found = encode_parts(frame, COLUMNS, 0, parts, exact)
    for rows, part in zip(parts, found, strict=True):
        assert part.dtype == whole.dtype
        assert part.flags.c_contiguous
        np.testing.assert_array_equal(part, whole[rows])
    assert not np.array_equal(found[0], whole[np.sort(parts[0])], equal_nan=True)


def test_parts_are_aligned_as_arrays_of_their_own(frame):
    parts = encode_parts(frame, COLUMNS, 0, [np.arange(5), np.arange(5, 22), np.arange(22, 30)])
    starts = [part.ctypes.data - parts[0].ctypes.data for part in parts]
    assert [start % 64 for start in starts] == [0, 0, 0]
    assert ALIGNED * parts[0].itemsize >= 64


def test_numbers_of_the_last_rows_decide_the_precision_of_all(frame):
    assert encode(Frame(frame.path, frame.table.slice(0, 2 * ROWS)), COLUMNS[:3], 0).dtype == np.float32
    assert encode(frame, COLUMNS[:3], 0).dtype == np.float64


CHECKED = {
    "fine": ([1.5, None, -3.0e38], ""),
    "nan": ([1.5, nan, 2.0], ""),
    "large and nan": ([2.9e38, nan], ""),
    "whole": ([2**62, None], ""),
    "infinite": ([1.5, -inf], "holds 1 values that are not finite in 32 bits, such as -inf"),
    "too large": ([nan, 1e39], "holds 1 values that are not finite in 32 bits, such as 1e+39"),
    "nearly too large": ([3.4e38, 3.2e38], ""),
    "no values": ([None, None], ""),
    "texts": (["a", "b"], "holds string, and numbers were trained on"),
}


@pytest.mark.parametrize("name", CHECKED)
def test_a_check_of_numbers_says_what_their_conversion_says(name):
    values, sentence = CHECKED[name]
    frame = frame_of(n=pa.array(values, pa.float64() if values == [None, None] else None))
    if not sentence:
        frame.check_numbers("n")
        np.testing.assert_array_equal(frame.numbers("n", most=1), frame.numbers("n")[:1])
        return
    for job in (frame.check_numbers, frame.numbers, lambda name: frame.numbers(name, most=0)):
        with pytest.raises(DataError, match=r"column `n` of a\.csv") as raised:
            job("n")
        assert sentence in raised.value.problems[0].message.replace("\n", " ")


def test_a_logarithm_is_refused_by_the_check_too():
    frame = frame_of(n=[1, 0])
    frame.check_numbers("n")
    with pytest.raises(DataError, match=r"column `n` of a\.csv holds 0, which has no logarithm"):
        frame.check_numbers("n", log=True)


def test_a_split_of_a_file_is_that_of_its_rows(tmp_path):
    rng = np.random.default_rng(2)
    rows = [[round(float(rng.random()), 4), "xyz"[int(rng.integers(3))], i] for i in range(6000)]
    lines = ["a,b,y", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    sets = Table.model_validate({"path": tmp_path / "a.csv", "target": "y", "valid": 0.1, "test": 700}).load()
    for part in sets.parts().values():
        assert part.rows is not None
        np.testing.assert_array_equal(part.y[:, 0], part.rows)
        wanted = [[rows[i][0], *(float(rows[i][1] == word) for word in "xyz")] for i in part.rows]
        np.testing.assert_array_equal(part.x, np.array(wanted, np.float32))
    assert [len(part) for part in sets.parts().values()] == [4700, 600, 700]
