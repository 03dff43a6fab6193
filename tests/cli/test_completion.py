"""Completion in the shell: what bash offers, and that nothing goes wrong aloud."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlx.cli import completion
from dlx.registry import FAMILIES
from dlx.spec import starter
from dlx.spec.shipped import names

DLX = Path(sys.executable).parent / "dlx"
MODULE = [sys.executable, "-m", "dlx"]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A working directory with specs, and two runs."""
    for file in ("mine.yaml", "notes.txt", "exps/deep/a.yml", "exps/one.toml", ".hidden/x.yaml", "two words.yaml"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for moment, run in enumerate(("digits/old", "digits/new")):
        spec = tmp_path / "runs" / run / "spec.yaml"
        spec.parent.mkdir(parents=True)
        spec.touch()
        os.utime(spec, (moment, moment))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(line: str) -> tuple[list[str], str]:
    """What completion says to bash at the end of a line, and on stderr."""
    words = line.split(" ")
    asked = {"_DLX_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ran = subprocess.run([DLX], env=os.environ | asked, capture_output=True, text=True)
    return ran.stdout.split(), ran.stderr


def test_specs_are_files_folders_and_shipped_ones_level_by_level(home):
    everything = completion.specs("")
    assert {"mine.yaml", "exps/", "runs/", "zoo/", "digits/"} <= set(everything)
    assert not {"notes.txt", ".hidden/", "two words.yaml"} & set(everything)
    assert completion.specs("zoo/") == [name for name in names() if name.startswith("zoo/")]
    assert completion.specs("zoo/gp") == ["zoo/gpt", "zoo/gpt2"]
    assert completion.specs("exps/") == ["exps/deep/", "exps/one.toml"]
    assert completion.specs(".h") == [".hidden/x.yaml"]
    assert completion.specs(f"{home}/mi") == [f"{home}/mine.yaml"]
    assert completion.specs("nowhere/at_all") == []


def test_a_folder_that_is_the_only_candidate_gives_way_to_what_it_holds(home):
    assert completion.specs("ex") == ["exps/deep/", "exps/one.toml"]
    assert completion.specs("exps/d") == ["exps/deep/a.yml"]
    assert completion.specs("nielsen/l") == [name for name in names() if name.startswith("nielsen/ladder/")]


def test_kinds_are_all_that_dlx_declares(home):
    for family in FAMILIES.values():
        family.search()
    declared = {kind for family in FAMILIES.values() for kind, at in family.modules.items() if at.startswith("dlx.")}
    assert declared <= set(completion.kinds(""))
    assert {"conv", "conv_transpose"} <= set(completion.kinds("conv"))
    assert "repeat" in completion.kinds("rep")
    assert completion.samplers("") == sorted(FAMILIES["sampler"])


def test_starters_are_all_that_new_lists_and_shipped_specs(home):
    assert set(starter.names()) < set(completion.starters(""))
    assert completion.starters("digits") == ["digits", "digits/lenet"]


def test_the_program_is_called_dlx_however_it_is_started():
    shown = [subprocess.run([*start, "--help"], capture_output=True, text=True) for start in (MODULE, [DLX])]
    assert shown[0].stdout == shown[1].stdout
    assert shown[0].stdout.split()[:2] == ["Usage:", "dlx"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dlx train digits/", ["digits/lenet"]),
        ("dlx inspect zoo/gpt2 --dep", ["--depth"]),
        ("dlx evaluate ", ["last", "digits/new", "digits/old"]),
        ("dlx train --resume digits/o", ["digits/old"]),
        ("dlx evaluate --runs nowhere ", ["exps/", "runs/"]),
        ("dlx new ", []),
    ],
)
def test_a_line_is_completed_without_a_word_on_stderr(home, line, words):
    assert offered(line) == (words, "")


def test_what_goes_wrong_stays_out_of_the_line(home):
    asked = {"_DLX_COMPLETE": "complete_bash", "COMP_WORDS": "dlx inspect", "COMP_CWORD": "no number"}
    ran = subprocess.run([DLX], env=os.environ | asked, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 1)


def test_completion_is_light(home):
    code = "import sys; from dlx.cli import completion; completion.specs('zoo/'); completion.run_names.__name__"
    heavy = f"{code}; print({{'torch', 'numpy', 'pydantic', 'yaml', 'rich'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_by_the_script_that_is_installed(home):
    script = """
    source <(dlx --show-completion)
    COMP_WORDS=(dlx inspect zoo/gpt2) COMP_CWORD=2
    _dlx_completion dlx
    echo "${COMPREPLY[@]}"
    complete -p dlx
    """
    path = f"{DLX.parent}:{os.environ['PATH']}"
    ran = subprocess.run(["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["zoo/gpt2", "complete -o default -F _dlx_completion dlx"], ran.stderr
