"""Which tests the processes of `make test` take together."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT
from order import SPREAD, unit_of


def test_files_whose_tests_are_taken_one_by_one_are_there_and_share_nothing():
    for name in SPREAD:
        assert 'scope="module"' not in (ROOT / name).read_text(), name


@pytest.mark.parametrize(
    ("test", "unit"),
    [
        ("tests/track/test_track.py::test_one[server]", "tests/track/test_track.py"),
        ("tests/test_zoo.py::test_one[a::b]", "tests/test_zoo.py::test_one[a::b]"),
    ],
)
def test_a_file_is_taken_whole_unless_it_is_listed(test, unit):
    assert unit_of(test) == unit


TWELVE = """\
import os, pathlib, pytest

@pytest.fixture(scope="module")
def costly():
    pathlib.Path("made", f"{__name__}-{os.getpid()}").touch()

@pytest.mark.parametrize("i", range(12))
def test_it(costly, i): pass
"""


def test_what_a_module_makes_is_made_by_one_process(tmp_path):
    for name in ("conftest.py", "order.py"):
        (tmp_path / name).write_text((ROOT / "tests" / name).read_text())
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(TWELVE)
    (tmp_path / "made").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert "24 passed" in done.stdout, done.stdout
    assert len(list((tmp_path / "made").iterdir())) == 2  # one for each of the two files
