"""A disk that is full while a checkpoint is saved: the old one stays, and the training goes on as far as it can."""

import errno
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import dlx, started

from dlx.errors import NotWrittenError, RunError, not_written
from dlx.experiment import runner
from dlx.experiment.recorder import TrainingWarning
from dlx.runs.folder import RunFolder
from dlx.runs.lookup import all_runs
from dlx.spec import load
from dlx.training.checkpoints import checkpoint, training_state
from dlx.utils import files

SPEC = """\
dlx: 1
name: s
data: {{synthetic: {{shape: [256], classes: 4, train: 160, valid: 20, test: 20}}}}
network: {{layers: [linear: {width}, relu, linear: 4]}}
train: {{epochs: {epochs}, batch_size: 32, optimizer: adam, save_every: 3, log_every: 1}}
track: {{mlflow: false}}
"""
"""With a width of 128 the weights have 134 kB, and a state 402 kB."""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(width=128, epochs=4))
    return path


def names(run: RunFolder) -> list[str]:
    return sorted(p.name for p in (run.dir / "checkpoints").iterdir())


def pair(name: str) -> list[str]:
    return [f"{name}.json", f"{name}.safetensors"]


def after_two(runs: Path, do):
    """Return a callback that acts once the checkpoint of step 6 is written, and collects the messages of troubles."""
    messages: list[str] = []

    def callback(event):
        if isinstance(event, TrainingWarning):
            messages.append(event.message)
        elif getattr(event, "record", "") == "step" and event.step == 7:
            until = time.monotonic() + 300
            while not list(runs.glob("s/*/checkpoints/step-000000006.json")) and time.monotonic() < until:
                time.sleep(0.01)
            do()

    callback.messages = messages
    return callback


def only(folder: Path) -> RunFolder:
    (run,) = (folder / "s").iterdir()
    return RunFolder(run)


@pytest.fixture
def no_file_above():
    """Lets the system refuse larger files, as a full disk does; Python ignores the signal that comes with it."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_checkpoint_before_stays_and_the_training_goes_on(path, tmp_path, no_file_above):
    callback = after_two(tmp_path / "runs", no_file_above(300_000))
    done = runner.run(load(path), tmp_path / "runs", callback).results[0]

    checkpoints = done.run.dir / "checkpoints"
    sentence = f"the checkpoint could not be written to {checkpoints}: File too large; that of step 6 is kept"
    assert callback.messages == [sentence]
    assert (done.status, done.steps, done.run.end()["message"]) == ("finished", 20, sentence)
    assert names(done.run) == [*pair("final"), *pair("step-000000003"), *pair("step-000000006")]
    for name in ("final", "step-000000006"):
        checkpoint.read(checkpoints, name)


def test_final_weights_that_cannot_be_saved_are_an_error_and_the_run_goes_on_later(path, tmp_path, no_file_above):
    whole = runner.run(load(path), tmp_path / "whole").results[0].run
    with pytest.raises(RunError) as error:
        runner.run(load(path), tmp_path / "runs", after_two(tmp_path / "runs", no_file_above(50_000)))
    run = only(tmp_path / "runs")
    messages = error.value.problems[0]
    assert messages.message == f"the checkpoint could not be written to {run.dir / 'checkpoints'}: File too large"
    assert messages.hint == (
        f"Make room on the disk. The weights of step 6 are kept in {run.dir / 'checkpoints'}. "
        f"`dlx train --resume {run.argument}` goes on."
    )
    assert run.status() == "failed"

    no_file_above(resource.RLIM_INFINITY)()
    runner.resume(run)
    digests = [json.loads((one.dir / "checkpoints" / "final.json").read_text())["sha256"] for one in (whole, run)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "train", ["", *(pytest.param(t, marks=pytest.mark.slow) for t in (", seeds: 2", ", ensemble: {members: 2}"))]
)
@pytest.mark.parametrize("name", ["confusion.json", "lock.json", "metrics.jsonl"])
def test_a_disk_that_fills_at_the_very_end_leaves_a_run_that_goes_on(tmp_path, monkeypatch, name, train):
    """The last files of a run come after its final weights: it has not finished while one of them is missing."""
    text = SPEC.format(width=4, epochs=1).replace("log_every: 1", f"log_every: 1{train}")
    (tmp_path / "s.yaml").write_text(text + "objective: {classification: {metrics: [confusion_matrix]}}\n")
    experiment, full = load(tmp_path / "s.yaml"), [True]
    replace, append = files.replace, RunFolder.append

    def refused(path, data):
        if full[0] and path.name == name and (path.parent / "checkpoints" / "final.json").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(path, data)

    def ended(self, *records):
        if full[0] and name == "metrics.jsonl" and records[-1]["record"] == "end":
            self.close()
            raise not_written(self.dir / name, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        append(self, *records)

    monkeypatch.setattr(files, "replace", refused)
    monkeypatch.setattr(RunFolder, "append", ended)
    with pytest.raises(NotWrittenError) as error:
        runner.run(experiment, tmp_path / "runs")
    problem, full[0] = error.value.problems[0], False
    (said,) = [run for run in all_runs(tmp_path / "runs") if str(run.dir) in problem.message]
    assert problem.message == f"{said.dir / name} cannot be written: no space left on device"
    (whole,) = [run for run in all_runs(tmp_path / "runs") if run.members()] or [said]
    assert problem.hint.startswith("Make room on the disk. ")
    assert problem.hint.endswith(f"`dlx train --resume {whole.argument}` goes on.")
    monkeypatch.setattr(RunFolder, "status", lambda self: (self.end() or {"status": "died"})["status"])
    unfinished = [run for run in all_runs(tmp_path / "runs") if run.status() != "finished"]
    assert said.dir in [run.dir for run in unfinished]

    for run in [whole] if whole.members() else unfinished:
        runner.resume(run)
    assert {run.status() for run in all_runs(tmp_path / "runs")} == {"finished"}
    assert all((run.dir / "confusion.json").exists() or run.members() for run in all_runs(tmp_path / "runs"))


@pytest.mark.parametrize("options", [(), pytest.param(("--jobs", "2"), marks=pytest.mark.slow)])
def test_a_study_on_a_disk_without_room_fails_no_trial_and_goes_on_by_the_same_command(tmp_path, small_disk, options):
    (tmp_path / "s.yaml").write_text(SPEC.format(width=128, epochs=1).replace("train: 160", "train: 64"))
    rates = ",".join(f"0.{i}" for i in range(1, 10))
    command = ["sweep", tmp_path / "s.yaml", f"train.optimizer.adam.lr={rates}", "--pack", "off", *options]
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - 900_000))

    ended = dlx(*command, "--runs", small_disk)
    (study,) = small_disk.glob("s/sweep-*")
    assert ended.returncode == 1
    assert "no space left on device" in ended.stderr.lower()
    assert "  Make room on the disk. The same command goes on with the study." in ended.stderr
    assert 0 < (study / "study.jsonl").read_text().count('"finished"') < 9
    assert '"failed"' not in (study / "study.jsonl").read_text()

    ballast.unlink()
    done = dlx(*command, "--runs", small_disk)
    assert (done.returncode, "9 trials: 9 finished" in done.stdout) == (0, True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, full where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_file_system_costs_only_the_checkpoints_of_that_time(path, tmp_path, small_disk):
    ballast = small_disk / "ballast"

    def fill():
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - 60_000))

    def callback(event):
        filled(event)
        if getattr(event, "record", "") == "step" and event.step == 14:
            ballast.unlink()

    filled = after_two(small_disk / "runs", fill)
    done = runner.run(load(path), small_disk / "runs", callback).results[0]

    assert len(filled.messages) == 1
    assert "No space left on device; that of step 6 is kept" in filled.messages[0]
    assert names(done.run) == [*pair("final"), *pair("step-000000015"), *pair("step-000000018")]
    checkpoint.read(done.run.dir / "checkpoints", "final")


def test_a_kill_while_a_checkpoint_is_written_leaves_the_others_whole(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(width=8192, epochs=4000).replace("save_every: 3", "save_every: 1"))
    process = started("train", path, "--runs", tmp_path / "runs")
    until = time.monotonic() + 300
    while not _half(tmp_path) or not list(tmp_path.glob("runs/s/*/checkpoints/step-*2.json")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.0005)  # a file is half written for milliseconds, and the training wants a core too
    process.kill()
    process.communicate()

    run = only(tmp_path / "runs")
    folder = run.dir / "checkpoints"
    whole = sorted(p.stem for p in folder.glob("step-*.json"))
    assert whole
    for name in whole:
        checkpoint.read(folder, name)
    (folder / ".step-000000999.safetensors.1").write_bytes(b"half of it")
    training_state.remove_partial_files(folder)
    assert not list(folder.glob(".*"))


def _half(tmp_path: Path) -> bool:
    return any(tmp_path.glob("runs/s/*/checkpoints/.step-*.safetensors.*"))
