"""A run that was killed goes on to the same bits."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlx import experiment
from dlx.errors import DlxError
from dlx.optim import OPTIMIZERS
from dlx.runs import Run
from dlx.spec import load

SPEC = """\
dlx: 1
name: s
data: {{synthetic: {{shape: [1, 6, 6], classes: 4, train: 160, valid: 40, test: 40}}}}
network:
  layers:
    - conv: {{out_channels: 3, kernel_size: 3}}
    - batch_norm
    - relu
    - dropout: 0.3
    - flatten
    - linear: 4
train:
  epochs: {epochs}
  batch_size: 32
  optimizer: {optimizer}
  schedule: {{exponential: {{gamma: 0.95}}}}
  save_every: 3
  log_every: 1
track: {{mlflow: false}}
"""


@pytest.fixture
def spec(tmp_path):
    def written(optimizer: str = "adam", epochs: int = 8) -> Path:
        path = tmp_path / "s.yaml"
        text = SPEC.format(optimizer=optimizer, epochs=epochs)
        path.write_text(text.replace("  batch_size: 32\n", "") if optimizer == "gradient_descent" else text)
        return path

    return written


class Killed(BaseException):
    """Stands for a kill within the process: nothing gets to clean up but what a kill leaves alone."""


def killed_at(step: int):
    def listen(event):
        if getattr(event, "record", "") == "step" and event.step == step:
            raise Killed

    return listen


def cut_off(path: Path, runs: Path, step: int) -> Run:
    """A run that ended at a step, its end record taken away."""
    with pytest.raises(Killed):
        experiment.run(load(path), runs, killed_at(step))
    (folder,) = (runs / "s").iterdir()
    records = folder / "metrics.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]) + b'{"record": "st')
    lock = json.loads((folder / "lock.json").read_text())
    (folder / "lock.json").write_text(json.dumps(lock | {"pid": 2**22 + 1}))
    return Run(folder)


def weights(run: Run) -> str:
    return json.loads((run.dir / "checkpoints" / "final.json").read_text())["sha256"]


def figures(run: Run):
    return [(r["record"], r["step"], r["metrics"]) for r in run.records() if r["record"] in {"step", "evaluation"}]


def whole(path: Path, runs: Path) -> Run:
    return experiment.run(load(path), runs).results[0].run


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_goes_on_to_the_same_weights_and_the_same_curve(spec, tmp_path, optimizer):
    path = spec("{newton: {damping: 0.1}}" if optimizer == "newton" else optimizer, epochs=4)
    expected = whole(path, tmp_path / "whole")
    total = figures(expected)[-1][1]
    run = cut_off(path, tmp_path / "cut", max(1, total - 1) if total < 8 else 8)
    experiment.resume(run)

    assert weights(run) == weights(expected)
    assert figures(run) == figures(expected)
    assert run.status() == "finished"


@pytest.mark.parametrize("step", [1, 3, 5, 6, 11, 39])
def test_wherever_it_is_cut_off(spec, tmp_path, step):
    """Before the first checkpoint, at one, at the end of an epoch, within the last steps."""
    path = spec()
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    experiment.resume(run)

    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


def test_a_torn_checkpoint_is_told_and_the_one_before_it_is_used(spec, tmp_path):
    path = spec()
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", 20)
    *_, newest = sorted((run.dir / "checkpoints").glob("step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-100])
    told = []
    experiment.resume(run, told.append)

    assert told[0].step == int(newest.stem[5:]) - 3
    assert f"{newest} is not what was written" in told[0].notes[0]
    assert "the checkpoint before it is used" in told[0].notes[0]
    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


def test_two_states_are_kept_and_no_more(spec, tmp_path):
    run = cut_off(spec(), tmp_path / "cut", 20)
    assert sorted(p.name for p in (run.dir / "checkpoints").iterdir()) == [
        f"step-{n:09d}.{suffix}" for n in (15, 18) for suffix in ("json", "safetensors")
    ]


def test_what_has_finished_or_has_other_data_does_not_go_on(spec, tmp_path):
    path = spec()
    with pytest.raises(DlxError, match="has finished"):
        experiment.resume(whole(path, tmp_path / "whole"))
    run = cut_off(path, tmp_path / "cut", 20)
    text = (run.dir / "spec.yaml").read_text()
    assert "classes: 4" in text
    (run.dir / "spec.yaml").write_text(text.replace("train: 160", "train: 170"))
    with pytest.raises(DlxError, match="has changed: its digest was"):
        experiment.resume(run)


def started(path: Path, runs: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dlx", "train", *more, "--runs", str(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=path.parent)


def steps_of(runs: Path) -> int:
    return max((p.read_bytes().count(b'"record":"step"') for p in runs.glob("s/*/metrics.jsonl")), default=0)


def test_five_real_kills_at_random_steps_do_not_change_a_bit(spec, tmp_path):
    path = spec(epochs=60)
    expected = whole(path, tmp_path / "whole")
    chance, runs = random.Random(7), tmp_path / "killed"
    targets = sorted(chance.sample(range(5, 290), 5))
    first = [str(path)]
    for target in targets:
        process = started(path, runs, *first)
        until = time.monotonic() + 120
        while steps_of(runs) < target and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        first = ["--resume", "last"]
    ended = started(path, runs, "--resume", "last")
    _, err = ended.communicate(timeout=300)
    (folder,) = (runs / "s").iterdir()

    assert ended.returncode == 0, err
    assert ", from step " in err
    assert (weights(Run(folder)), figures(Run(folder))) == (weights(expected), figures(expected))


def test_the_command_takes_a_spec_or_a_run(spec, tmp_path):
    for more in ([], [str(spec()), "--resume", "last"]):
        ran = subprocess.run(
            [sys.executable, "-m", "dlx", "train", *more], capture_output=True, text=True, cwd=tmp_path
        )
        assert ran.returncode == 2
        assert "give a spec to train, or the run to resume" in ran.stderr
