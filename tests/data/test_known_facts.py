"""Facts of small files are known from earlier commands, by what the files hold."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dlx.data import DATASETS, Facts, known_facts, read_once
from dlx.data.cache import cache_folder
from dlx.data.tables import table_files
from dlx.shapes import Shape

ROWS = '"a",b,kind,price\n1,2,x,0\n3,4,y,1\n5,6,x,1\n7,8,y,0\n'
"""Not plain, by the quotes: `dlx.data.tables.plain_rows` would find the facts without reading the rows."""
FORMS = {
    "classes": {"target": "kind"},
    "values, with a warning": {"target": "price", "drop": ["kind"]},
    "fields": {
        "inputs": {"n": ["a"], "k": {"columns": ["kind"], "is": "integers"}},
        "targets": {"price": "values"},
        "weights": "b",
    },
    "no labels": {"target": None},
    "several labels": {"target": ["price"], "drop": ["kind"], "task": "multilabel"},
}


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """What is read of tables, one entry each time; a cache folder of its own, and no memory of earlier facts."""
    found: list[str] = []
    table = table_files.read
    monkeypatch.setattr(table_files, "read", lambda path, *args: found.append(path.name) or table(path, *args))
    monkeypatch.setenv("DLX_CACHE", str(tmp_path / "cache"))
    return found


def later(source):
    """The facts of a source in another command."""
    read_once._facts.clear()
    return source.facts()


def written(path: Path, text: str = ROWS) -> Path:
    path.write_text(text)
    os.utime(path, (1e9, 1e9))
    return path


def test_all_of_them_are_in_the_document():
    source = DATASETS["digits"].model_validate({})
    document = known_facts.as_json(source.facts())
    known = {*document, "texts"}  # facts with texts are not kept

    assert {field.name for field in fields(Facts)} <= known


@pytest.mark.parametrize("form", FORMS)
def test_the_next_command_knows_all_of_them_and_reads_no_file(tmp_path, reads, form):
    source = DATASETS["table"].model_validate({"path": written(tmp_path / "t.csv"), **FORMS[form]})
    first = later(source)
    again = later(source)
    assert reads == ["t.csv"]
    assert again == first
    assert repr(again) == repr(first)
    assert bool(first.warnings) == ("warning" in form)


def test_arrays_are_known_too(tmp_path, reads):
    np.savez(tmp_path / "a.npz", x=np.zeros((8, 3)), y=np.arange(8) % 2)
    os.utime(tmp_path / "a.npz", (1e9, 1e9))
    named = {"inputs": {"image": "x"}, "targets": {"label": "y"}}
    source = DATASETS["arrays"].model_validate({"path": tmp_path / "a.npz", **named})
    first = later(source)
    assert (later(source), later(source).classes) == (first, 2)
    assert len(list((cache_folder() / "facts").iterdir())) == 1


def test_other_content_and_other_options_are_read_anew(tmp_path, reads):
    path = written(tmp_path / "t.csv")
    source = DATASETS["table"](path=path, target="kind")
    assert later(source).classes == 2
    written(path, ROWS.replace("7,8,y", "7,8,z"))  # of the same length and time
    assert later(source).classes == 3
    assert later(DATASETS["table"](path=path, target="kind", columns=["a"])).input == Shape((1,))
    written(path)
    assert later(source).classes == 2
    assert len(reads) == 3


def test_another_version_of_the_code_that_reads_is_not_taken_at_its_word(tmp_path, reads, monkeypatch):
    code = written(tmp_path / "code.py")
    monkeypatch.setattr(known_facts, "CODE", [code])
    source = DATASETS["table"](path=written(tmp_path / "t.csv"), target="kind")
    later(source), later(source)
    os.utime(code, (2e9, 2e9))
    later(source)
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, reads, monkeypatch):
    path = written(tmp_path / "t.csv")
    source = DATASETS["table"](path=path, target="kind")
    table = table_files.read

    def changing(at, *args):
        frame = table(at, *args)
        written(path, ROWS.replace("7,8,y", "7,8,z"))
        return frame

    monkeypatch.setattr(table_files, "read", changing)
    assert later(source).classes == 2
    monkeypatch.setattr(table_files, "read", table)
    assert later(source).classes == 3


@pytest.mark.parametrize("text", ["", "[1]", '{"input": 3}', "{"])
def test_a_damaged_entry_is_replaced(tmp_path, reads, text):
    source = DATASETS["table"](path=written(tmp_path / "t.csv"), target="kind")
    first = later(source)
    (entry,) = (cache_folder() / "facts").iterdir()
    entry.write_text(text)
    assert later(source) == later(source) == first
    assert len(reads) == 2


def test_where_nothing_can_be_kept_files_are_read(tmp_path, reads, monkeypatch):
    monkeypatch.setenv("DLX_CACHE", str(written(tmp_path / "file")))
    source = DATASETS["table"](path=written(tmp_path / "t.csv"), target="kind")
    assert later(source) == later(source)
    assert len(reads) == 2


def test_large_files_are_read_and_the_folder_is_bounded(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(known_facts, "MOST", 4)
    path = written(tmp_path / "t.csv")
    for most in range(2, 12):
        later(DATASETS["table"](path=path, target="kind", max_categories=most))
    assert len(list((cache_folder() / "facts").iterdir())) <= 4
    assert len(reads) == 10

    monkeypatch.setattr(known_facts, "LARGEST", len(ROWS) - 1)
    later(DATASETS["table"](path=path, target="kind", max_categories=11))
    assert len(reads) == 11


def test_inspect_of_a_table_that_it_knows_takes_neither_numpy_nor_pyarrow(tmp_path):
    written(tmp_path / "t.csv")
    (tmp_path / "s.yaml").write_text(
        "data: {table: {path: t.csv, target: kind}}\nnetwork: {layers: [{linear: 2}]}\nobjective: classification\n"
        "train: {epochs: 3}\n"
    )
    script = (
        "import sys; from dlx.__main__ import run\nsys.argv = ['dlx', 'inspect', 's.yaml']\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(*{'numpy', 'pyarrow', 'torch', 'dlx.data.new_inputs'} & {*sys.modules}, file=sys.stderr)"
    )
    env = os.environ | {"DLX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env, cwd=tmp_path
        )
        for _ in range(2)
    ]
    assert [set(one.stderr.split()) for one in runs] == [{"numpy", "pyarrow"}, set()]
    assert runs[0].stdout == runs[1].stdout
    assert "kind    target, classes" in runs[1].stdout
