"""Nobody waits for MLflow but who asks to: `dlx runs sync --wait`, beside mirrors at work, killed ones and none."""

import json
import shutil
import subprocess
import sys
import threading
import time
from threading import Timer

import pytest
import typer
from commands import dlx

from dlx.cli import run_list
from dlx.runs.folder import RunFolder
from dlx.show import training
from dlx.track import at_work, mirror

HOLD = """
import sys, time
from pathlib import Path
from dlx.track import at_work
with at_work.holding([Path(sys.argv[1])]):
    print("at work", flush=True)
    sys.stdin.read()
"""

SPEC = """\
dlx: 1
name: tiny
data: {synthetic: {shape: [4], classes: 2, train: 20, test: 10}}
network: {layers: [{linear: 2}]}
train: {steps: 4, batch_size: 5}
"""


@pytest.fixture
def run(tmp_path):
    """A run that has ended, of which MLflow has all."""
    made = RunFolder.create(tmp_path / "runs", "digits")
    made.append({"record": "start", "time": 1.0})
    made.append({"record": "end", "time": 2.0, "step": 1, "seconds": 1.0, "status": "finished", "metrics": {}})
    made.close()
    size = (made.dir / "metrics.jsonl").stat().st_size
    made.write_json("mlflow.json", {"uri": f"sqlite:///{tmp_path}/x.db", "run_id": "7", "offset": size, "model": {}})
    return made


@pytest.fixture
def at(run):
    """A process that has the run as its mirror has it, until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, run.dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "at work\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def sync(run, at, monkeypatch, capsys):
    """`dlx runs sync --wait --json`, while whose waiting the mirror comes to an end; what it says of the run."""

    def command(end):
        wait = at_work.wait

        def waits(folder, say):
            if at_work.is_at_work(folder):
                Timer(0.1, end).start()
            return wait(folder, say)

        monkeypatch.setattr(at_work, "wait", waits)
        run_list.sync(None, None, wait=True, as_json=True, runs=run.root)
        (told,) = json.loads(capsys.readouterr().out)["runs"]
        return told

    return command


def test_a_mirror_at_work_is_waited_for_and_mlflow_is_not_asked_again(sync, at):
    # there is no store at that address: asked, it would begin one with two records
    told = sync(at.stdin.close)
    assert (told["waited"], told["complete"], told["sent"]) == (True, True, 0)
    assert told["uri"].endswith("/x.db")
    assert at.wait(60) == 0


def test_a_mirror_that_is_killed_ends_the_waiting_and_the_rest_is_delivered(run, sync, at, empty_store):
    shutil.copy(empty_store, run.root / "mlflow.db")
    run.write_json("mlflow.json", {})
    told = sync(at.kill)
    assert (told["waited"], told["complete"], told["sent"]) == (True, True, 2)
    assert told["uri"].endswith("runs/mlflow.db")


def test_a_lock_that_cannot_be_opened_keeps_nobody_from_the_other_runs(run):
    (run.dir / at_work.LOCK).mkdir()
    assert at_work.wait_all([run.dir]) == set()


def test_a_mirror_that_takes_up_a_run_while_another_is_waited_for_is_waited_for_too(tmp_path, monkeypatch):
    first, second, _ = folders = [tmp_path / name for name in ("first", "second", "third")]
    at_its_end = iter([False, True, False, True, False, False, False, False, False])
    monkeypatch.setattr(at_work, "wait", lambda *_: next(at_its_end))
    assert at_work.wait_all(folders) == {second, first}
    assert list(at_its_end) == []


def test_a_run_in_training_is_not_waited_for(run, sync, at, empty_store):
    shutil.copy(empty_store, run.root / "mlflow.db")
    for name in ("metrics.jsonl", "mlflow.json"):
        (run.dir / name).unlink()
    run.append({"record": "start", "time": time.time()})
    run.close()
    run.write_json("lock.json", {"pid": at.pid})
    assert run.status() == "running"
    told = sync(pytest.fail)
    assert (told["waited"], told["complete"]) == (False, True)
    assert at.poll() is None


def test_without_the_option_nobody_waits(run, at, empty_store):
    assert at_work.is_at_work(run.dir)
    shutil.copy(empty_store, run.root / "mlflow.db")
    run_list.sync("last", runs=run.root, uri=f"sqlite:///{run.root}/mlflow.db")
    assert at.poll() is None


LOCKED = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("lock", ["mlflow.lock", ".scalars.lock"])
def test_a_delivery_that_does_not_come_to_its_end_is_said_and_not_waited_for_without_end(
    run, monkeypatch, capsys, lock
):
    monkeypatch.setattr(at_work, "UNSAID", 0.01)
    monkeypatch.setattr(at_work, "PATIENCE", 0.05)
    run.write_text("spec.yaml", SPEC + "track: {csv: true}\n")
    starved = [sys.executable, "-c", LOCKED, run.dir / lock]
    with subprocess.Popen(starved, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        opened = threading.Timer(60, process.kill)  # without its patience it would wait for ever
        opened.start()
        with pytest.raises(typer.Exit):
            run_list.sync(None, None, as_json=True, runs=run.root)
        opened.cancel()
        process.stdin.close()
    found = capsys.readouterr()
    assert f"{run.key} is being delivered by another process, which is waited for." in " ".join(found.err.split())
    (of_run,) = json.loads(found.out)["runs"]
    assert not of_run["complete"]
    assert of_run["error"] == (
        "another process is delivering it, and has recorded nothing for 0 seconds; "
        "`dlx runs sync` sends later what it leaves out"
    )


GETS_ON = """
import sys, time
from pathlib import Path
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("locked", flush=True)
    for i in range(12):
        Path(sys.argv[2]).write_text("{}")
        time.sleep(0.25)
"""


def test_a_delivery_that_gets_on_is_waited_for_however_long_it_takes(run, monkeypatch):
    monkeypatch.setattr(at_work, "UNSAID", 0.01)
    monkeypatch.setattr(at_work, "PATIENCE", 2.0)
    command = [sys.executable, "-c", GETS_ON, run.dir / "mlflow.lock", run.dir / "mlflow.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with at_work.impatient(lambda _: None), at_work.held(run.dir / "mlflow.lock"):
            assert process.wait(60) == 0


def test_a_mirror_that_begins_as_the_waiting_does_is_waited_for_to_its_end(run, monkeypatch, capsys, empty_store):
    shutil.copy(empty_store, run.root.parent / "x.db")
    monkeypatch.setattr(at_work, "UNSAID", 0.01)
    monkeypatch.setattr(at_work, "PATIENCE", 0.05)
    with subprocess.Popen(
        [sys.executable, "-c", LOCKED, run.dir / "mlflow.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "locked\n"
        Timer(0.5, process.stdin.close).start()
        run_list.sync("last", None, wait=True, as_json=True, runs=run.root)
    (of_run,) = json.loads(capsys.readouterr().out)["runs"]
    assert of_run["complete"], of_run["error"]


def test_a_mirror_that_takes_a_while_is_waited_for_with_a_word(run, at, monkeypatch):
    monkeypatch.setattr(at_work, "UNSAID", 0.01)
    said = []

    def say(folder):
        said.append(folder)
        at.kill()

    assert at_work.wait_all([run.dir], say) == {run.dir}
    assert said == [run.dir]


def test_a_folder_of_no_mirror_is_not_waited_for_and_stays_as_it_is(run):
    assert not at_work.wait(run.dir)
    assert not (run.dir / at_work.LOCK).exists()


def test_the_last_line_of_a_training_says_how_to_wait_and_where_it_is_then(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    assert training.tracked("behind", f"sqlite:///{tmp_path}/runs/mlflow.db", training.every([run])) == (
        f"being delivered in the background; `dlx runs sync --wait {run.key}` waits for it, then `dlx ui`"
    )
    elsewhere = RunFolder(tmp_path / "more" / "digits" / run.id)
    assert training.every([run, run]) == ""
    assert training.every([elsewhere, elsewhere]) == "--runs more"


def test_what_a_mirror_could_not_deliver_so_far_is_said_at_the_end(run):
    class Process:
        pid, stdin = 77, None

        def poll(self):
            return None

    begun = mirror.Mirror(run, Process())
    run.write_json("mlflow.json", {"error": "MLflow at http://x cannot be reached"})
    assert begun.finish(0) == "failed: MLflow at http://x cannot be reached"
    later = mirror.Mirror(run, Process(), began=time.time() + 60)
    assert later.finish(0) == "behind"


@pytest.mark.slow
def test_a_training_ends_before_mlflow_has_it_and_the_command_waits_for_that(tmp_path, copied_mirrors):
    (tmp_path / "tiny.yaml").write_text(SPEC)
    trained = dlx("train", "tiny.yaml", cwd=tmp_path, check=True)
    last = trained.stdout.splitlines()[-1]
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    assert last.startswith(
        ("mlflow  being delivered in the background; `dlx runs sync --wait tiny/", "mlflow  open it")
    )
    done = dlx("runs", "sync", "--wait", cwd=tmp_path, check=True)
    assert done.stdout.startswith((f"tiny/{folder.name}  delivered ", f"tiny/{folder.name}  already in "))
    assert dlx("runs", "sync", cwd=tmp_path, check=True).stdout.startswith(f"tiny/{folder.name}  already in ")
