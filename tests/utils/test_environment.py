"""Environment variables of dlx: a value that says nothing they take is an error where it would have counted."""

import pytest
from commands import dlx

from dlx.errors import DlxError
from dlx.track import check_environment, spool
from dlx.training import device
from dlx.utils import environment

SPEC = """\
dlx: 1
name: tiny
data: {synthetic: {shape: [4], classes: 2, train: 20, test: 10}}
network: {layers: [{linear: 2}]}
train: {steps: 4, batch_size: 5}
"""


@pytest.mark.parametrize("text", ["abc", "inf", "nan", "-1", "86401", "30s"])
def test_seconds_that_are_none_or_have_no_end_are_an_error(monkeypatch, text):
    monkeypatch.setenv(spool.IDLE, text)
    with pytest.raises(DlxError) as caught:
        check_environment()
    (problem,) = caught.value.problems
    assert problem.message == (
        f"the environment variable DLX_MIRROR_IDLE takes seconds from 0 to 86,400, not `{text}`"
    )
    assert problem.hint == "Change it, or `unset DLX_MIRROR_IDLE`."


@pytest.mark.parametrize(("text", "idle"), [("", 30.0), ("0", 0.0), (" 2.5 ", 2.5), ("86400", 86_400.0)])
def test_seconds_may_be_left_out(monkeypatch, text, idle):
    monkeypatch.setenv(spool.IDLE, text)
    assert spool.idle_seconds() == idle


@pytest.mark.parametrize(("name", "word"), [("DLX_MIRROR_PRIORITY", "normal"), ("DLX_MIRROR_FIGURES", "none")])
def test_a_variable_of_one_word_takes_no_other(monkeypatch, name, word):
    for text in ("", word):
        monkeypatch.setenv(name, text)
        check_environment()
    monkeypatch.setenv(name, "x" * 99)
    with pytest.raises(DlxError, match=rf"{name} takes `{word}` alone, not `x{{40}}\.\.\.`"):
        check_environment()


@pytest.mark.parametrize("text", ["0", "many", "2.5", "-1", "4097", "9" * 5000, "²"])
def test_a_number_of_threads_that_is_none_is_an_error(monkeypatch, text):
    monkeypatch.setenv("DLX_THREADS", text)
    with pytest.raises(DlxError, match="DLX_THREADS takes a whole number from 1 to 4,096, not "):
        device.available_threads()
    monkeypatch.setenv("DLX_THREADS", "4096")
    assert environment.count("DLX_THREADS", 4096) == 4096


def test_the_command_says_so_and_trains_nothing(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPEC)
    done = dlx("train", "tiny.yaml", cwd=tmp_path, env={spool.IDLE: "abc"})
    assert done.returncode == 2
    assert "DLX_MIRROR_IDLE takes seconds from 0 to 86,400, not `abc`" in done.stderr
    assert not (tmp_path / "runs").exists()
    done = dlx("train", "tiny.yaml", "track.mlflow=false", cwd=tmp_path, env={spool.IDLE: "abc"})
    assert done.returncode == 0, done.stderr  # no mirror, so it counts for nothing
