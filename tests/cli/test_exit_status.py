"""Ctrl-C ends a command in one line and with status 130, from its first moment on."""

import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 80, valid: 40}}
network: {layers: [{linear: 4}]}
train: {epochs: 2, batch_size: 20}
track: {mlflow: false}
"""
PRESSED = """\
import os, signal, sys

class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == pressed:
            os.kill(os.getpid(), signal.SIGINT)

pressed = sys.argv.pop(1)
sys.meta_path.insert(0, Pressed())
from dlx.__main__ import main
main()
"""
"""Ctrl-C comes as a module is about to be imported."""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("dlx.cli", ["--version"]),
        ("typer", ["inspect", "s.yaml"]),
        ("dlx.graph", ["inspect", "s.yaml"]),
        ("torch", ["train", "s.yaml"]),
        ("dlx.sweeps.run", ["sweep", "s.yaml", "train.seed=1,2"]),
        ("dlx.experiment.runner", ["train", "--resume", "last"]),
    ],
)
def test_while_things_are_imported(tmp_path, module, words):
    ended = pressed(tmp_path, module, words)

    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "  interrupted\n"
    assert ended.stdout == ""


def test_while_a_training_begins(tmp_path):
    ended = pressed(tmp_path, "dlx.training.data_dependent_init", ["train", "s.yaml"])

    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "  interrupted\n"
    assert "stopped after 0 steps" in ended.stdout


def test_as_the_members_of_an_ensemble_begin(tmp_path):
    ended = pressed(tmp_path, "dlx.training.data_dependent_init", ["train", "s.yaml", "+train.ensemble=2"])

    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "  interrupted\n"


def pressed(folder: Path, module: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    (folder / "s.yaml").write_text(SPEC)
    command = [sys.executable, "-c", PRESSED, module, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
