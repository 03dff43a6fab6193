"""A command that only says something ends its process at once, and nothing that others wait for is lost."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlx import __main__ as command

SPEC = """\
dlx: 1
plugins: [mine.py]
network: {inputs: [8], layers: [{linear: 4}]}
"""
PLUGIN = """\
from typing import ClassVar

from dlx.layers import Layer, Plan
from dlx.lazy import nn


class Mine(Layer):
    kind: ClassVar[str] = "mine"

    def plan(self, x):
        return Plan(x)

    def module(self, x):
        return nn.Identity()


notes = open("notes.txt", "w")
notes.write("seen")
"""


def test_what_a_plugin_wrote_into_a_file_that_it_left_open(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    (tmp_path / "mine.py").write_text(PLUGIN)

    assert python(tmp_path, "-m", "dlx", "inspect", "s.yaml").returncode == 0
    assert (tmp_path / "notes.txt").read_text() == "seen"


def test_what_a_profiler_prints(tmp_path):
    assert "cumtime" in python(tmp_path, "-m", "cProfile", "-m", "dlx", "--version").stdout


@pytest.mark.parametrize(("tool", "is_watched"), [("cProfile", True), (None, False)])
def test_a_tool_of_python_3_12_is_a_profiler_too(monkeypatch, tool, is_watched):
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(sys, "getprofile", lambda: None)
    monkeypatch.setattr(
        sys, "monitoring", SimpleNamespace(get_tool=lambda n: tool if n == 2 else None), raising=False
    )

    assert command._is_watched() is is_watched


def test_what_is_to_be_done_at_the_end(tmp_path):
    code = "import atexit, sys; from dlx.__main__ import main; atexit.register(print, 'done')"
    code += "; sys.argv[1:] = ['nonsense']; main()"
    ended = python(tmp_path, "-c", code)

    assert ended.returncode == 2
    assert ended.stdout == "done\n"


FAILING = """\
from dlx.__main__ import _end_at_once
from dlx.utils import imports

imports.own_process()
imports.cores = lambda: 2
try:
    with imports.beside("torch"):
        raise OSError("no such file")
except OSError:
    _end_at_once(3)
print("an interpreter that takes all apart meets torch half way")
"""


def test_data_that_cannot_be_loaded_while_torch_is_imported_beside(tmp_path):
    ended = python(tmp_path, "-c", FAILING)

    assert ended.returncode == 3
    assert ended.stdout == ""


SYNTHETIC = """\
dlx: 1
name: s
data: {synthetic: {shape: [4], train: 8, test: 4}}
network: {layers: [linear: 10]}
"""
SAYING_SO = """\
import os
import sys

from dlx import __main__ as command

end = os._exit
os._exit = lambda status: (os.write(1, b"at once"), end(status))
if sys.argv[1:]:
    command._has_cuda = lambda: True
sys.argv[1:] = ["train", "s.yaml", "train.epochs=1", "track.mlflow=false", "--quiet"]
command.main()
"""


@pytest.mark.parametrize(("gpu", "is_at_once"), [([], True), (["gpu"], False)])
def test_a_training_on_the_cpu_takes_torch_not_apart(tmp_path, gpu, is_at_once):
    (tmp_path / "s.yaml").write_text(SYNTHETIC)
    ended = python(tmp_path, "-c", SAYING_SO, *gpu)
    (run,) = (tmp_path / "runs" / "s").iterdir()

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("at once") is is_at_once
    assert '"status":"finished"' in (run / "metrics.jsonl").read_text()


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
