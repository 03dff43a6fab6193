"""Commands that tests run as copies of one process do what those that begin anew do."""

import subprocess
import sys

import pytest
from commands import ROOT, dlx, dlx_on_terminal
from plugin_files import HEAD, layer

LENET = "specs/digits/lenet.yaml"


@pytest.mark.parametrize("argv", [["inspect", LENET, "train.seed=3"], ["inspect", "nowhere.yaml"], ["inspct"]])
def test_a_copy_prints_and_ends_as_a_new_process_does(argv):
    new = subprocess.run([sys.executable, "-m", "dlx", *argv], cwd=ROOT, capture_output=True, text=True)
    copy = dlx(*argv)

    assert (copy.returncode, copy.stdout, copy.stderr) == (new.returncode, new.stdout, new.stderr)


def test_a_copy_has_its_own_folder_environment_and_terminal(tmp_path):
    assert dlx("new", "first.yaml", cwd=tmp_path).returncode == 0
    assert (tmp_path / "first.yaml").is_file()
    assert dlx("new", "first.yaml", cwd=tmp_path).returncode == 2
    status, text = dlx_on_terminal("inspect", "first.yaml", cwd=tmp_path, columns=50)
    assert (status, "\x1b[" in text) == (0, True)
    status, wrong = dlx_on_terminal("inspect", "second.yaml", cwd=tmp_path)
    assert (status, "there is no such file" in wrong) == (2, True)


def test_what_one_command_changes_no_other_one_has(tmp_path):
    (tmp_path / "part.py").write_text(HEAD + layer("part"))
    network = "network: {inputs: [3], layers: [part]}\n"
    (tmp_path / "with.yaml").write_text("plugins: [part.py]\n" + network)
    (tmp_path / "without.yaml").write_text(network)

    assert dlx("inspect", "with.yaml", cwd=tmp_path).returncode == 0
    assert "there is no layer or block `part`" in dlx("inspect", "without.yaml", cwd=tmp_path).stderr


def test_a_status_that_is_checked_raises():
    with pytest.raises(subprocess.CalledProcessError):
        dlx("inspect", "nowhere.yaml", check=True)
