"""Files that facts have to read: once while they stay as they are, anew when they change."""

from __future__ import annotations

import os

import numpy as np
import pytest

from dlx.data import DATASETS
from dlx.data.arrays import fields as array_fields
from dlx.data.preprocess import EarlierFit, using_earlier_fit
from dlx.data.published import idx
from dlx.data.tables import table_files
from dlx.shapes import Shape

ROWS = "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n"


@pytest.fixture
def reads(monkeypatch):
    """What is read of tables and of arrays, one entry each time."""
    found = []
    table, array = table_files.read, array_fields.StoredArray
    monkeypatch.setattr(table_files, "read", lambda path, *args: found.append(path.name) or table(path, *args))

    def stored(sizes, dtype, read, mapped=None):
        return array(sizes, dtype, lambda: found.append(str(dtype)) or read(), mapped)

    original = array_fields.open_array
    monkeypatch.setattr(
        array_fields,
        "open_array",
        lambda *args, **more: stored(
            *(getattr(original(*args, **more), n) for n in ("sizes", "dtype", "read", "mapped"))
        ),
    )
    return found


def write(path, text, seconds=100):
    path.write_text(text)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))
    return path


def test_a_table_is_read_once_for_facts_and_load(tmp_path, reads):
    path = write(tmp_path / "t.csv", ROWS)
    source = DATASETS["table"](path=path, target="kind", standardize="feature")
    first = [source.facts() for _ in range(3)]
    sets = source.load()

    assert reads == ["t.csv"]
    assert first[0] == first[2]
    assert source.load().digest == sets.digest  # read again: what was read is not kept for ever
    assert reads == ["t.csv"] * 2
    assert DATASETS["table"](path=path, target="kind", columns=["a"]).facts().input == Shape((1,))


def test_a_file_that_changes_is_read_anew(tmp_path, reads):
    path = write(tmp_path / "t.csv", ROWS)
    source = DATASETS["table"](path=path, target="kind")
    assert source.facts().classes == 2
    write(path, ROWS.replace("7,8,y", "7,8,z"), 50)  # of the same length
    assert source.facts().classes == 3
    assert source.load().class_names == ("x", "y", "z")
    path.write_text(ROWS)  # just now: the clock of files may not tell it from what is written next
    assert source.facts().classes == 2
    path.write_text(ROWS.replace("7,8,y", "7,8,w"))
    assert source.facts().classes == 3


def test_an_earlier_fit_is_not_what_is_remembered(tmp_path, reads):
    source = DATASETS["table"](path=write(tmp_path / "t.csv", ROWS), target="kind")
    plain = source.load()
    source.facts()
    earlier = EarlierFit("run", Shape((2,)), (), plain.reading, ("x", "y", "z"))
    with using_earlier_fit(earlier):
        assert source.facts().classes == 3
    assert source.facts().classes == 2


def test_named_class_arrays_are_read_once(tmp_path, reads):
    path = tmp_path / "a.npz"
    np.savez(
        path,
        x=np.zeros((6, 2), np.float32),
        k=np.arange(6) % 3,
        test_x=np.ones((2, 2), np.float32),
        test_k=np.arange(2),
    )
    os.utime(path, (1, 1))
    source = DATASETS["arrays"](path=path, inputs={"x": "x"}, targets={"k": "k"}, split="order")
    for _ in range(2):
        source.facts()
    sets = source.load()

    assert sorted(reads) == ["float32", "float32", "int64", "int64"]
    assert (sets.train.y.tolist(), sets.test.y.tolist()) == ([0, 1, 2, 0, 1, 2], [0, 1])
    assert source.load().digest == sets.digest


def test_labels_of_idx_files_are_read_once(tmp_path, monkeypatch):
    found = []
    plain = idx.read_labels
    monkeypatch.setattr(idx, "read_labels", lambda path: found.append(path.name) or plain(path))
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 6, *(0, 1, 2, 0, 1, 2)])
    for name, data in (("x", bytes([0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 1, *range(6)])), ("y", labels)):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (1, 1))
    source = DATASETS["idx"](images=tmp_path / "x", labels=tmp_path / "y", classes=[2, 0], split="order")
    assert [source.facts().classes for _ in range(3)] == [2] * 3
    sets = source.load()
    assert found == ["y"]
    assert sets.train.y.tolist() == [1, 0, 1, 0]
    assert source.load().digest == sets.digest
    assert found == ["y"] * 2
    (tmp_path / "y").write_bytes(labels[:-1] + b"\0")  # just now: it may change again before its clock ticks
    assert source.load().train.y.tolist() == [1, 0, 1, 1]
