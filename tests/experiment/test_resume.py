"""A run that was killed goes on to the same bits."""

import json
from pathlib import Path

import pytest
from commands import dlx

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.optim import OPTIMIZERS
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.trained import prove_resume

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
    def callback(event):
        if getattr(event, "record", "") == "step" and event.step == step:
            raise Killed

    return callback


def cut_off(path: Path, runs: Path, step: int) -> RunFolder:
    """A run that ended at a step, its end record taken away."""
    with pytest.raises(Killed):
        runner.run(load(path), runs, killed_at(step))
    (folder,) = (runs / "s").iterdir()
    records = folder / "metrics.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]) + b'{"record": "st')
    lock = json.loads((folder / "lock.json").read_text())
    (folder / "lock.json").write_text(json.dumps(lock | {"pid": 2**22 + 1}))
    return RunFolder(folder)


def weights(run: RunFolder) -> str:
    return json.loads((run.dir / "checkpoints" / "final.json").read_text())["sha256"]


def figures(run: RunFolder):
    return [(r["record"], r["step"], r["metrics"]) for r in run.records() if r["record"] in {"step", "evaluation"}]


_WHOLE: dict[str, RunFolder] = {}
"""Runs that nobody cut off, by the text of their spec: several tests cut the same training at different steps."""


def whole(path: Path, runs: Path) -> RunFolder:
    """The run of a spec that nobody cuts off, which is only read."""
    text = path.read_text()
    if text not in _WHOLE:
        _WHOLE[text] = runner.run(load(path), runs).results[0].run
    return _WHOLE[text]


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_goes_on_to_the_same_weights_and_the_same_curve(spec, tmp_path, optimizer):
    costly = optimizer in {"newton", "lbfgs"}  # a step is many backward passes, of Newton's method one a weight
    wants = {"newton": "{newton: {damping: 0.1}}", "sgld": "{sgld: {temperature: 1.0e-6}}"}
    path = spec(wants.get(optimizer, optimizer), epochs=2 if costly else 4)
    if costly:
        path.write_text(path.read_text().replace("[1, 6, 6]", "[1, 4, 4]"))
    expected = whole(path, tmp_path / "whole")
    total = figures(expected)[-1][1]
    run = cut_off(path, tmp_path / "cut", max(1, total - 1) if total < 8 else 8)
    runner.resume(run)

    assert weights(run) == weights(expected)
    assert figures(run) == figures(expected)
    assert run.status() == "finished"


@pytest.mark.parametrize("step", [1, 3, 5, 6, 11, 39])
def test_wherever_it_is_cut_off(spec, tmp_path, step):
    """Before the first checkpoint, at one, at the end of an epoch, within the last steps."""
    path = spec()
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)

    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


AROUND = {
    "ema": "average: {ema: {decay: 0.9, warmup: true}}",
    "polyak": "average: {polyak: 0.3}",
    "swa": "average: {swa: {start: 0.3, every: 4}}",
    "early": "early_stopping: {metric: valid/accuracy, patience: 3}",
    "all": "early_stopping: {patience: 3}, average: {ema: 0.5}, keep_best: 3, recompute_statistics: true",
}


@pytest.mark.parametrize("step", [2, 8, 13, 19])
@pytest.mark.parametrize("more", AROUND)
def test_averages_patience_and_the_best_go_on_where_they_were(spec, tmp_path, more, step):
    """Evaluations at 4, 8, ...; states at 3, 6, ...: a cut before the first of both, at one, between two."""
    path = spec(epochs=12, optimizer="{sgd: {lr: 0.5, momentum: 0.9}}")
    path.write_text(path.read_text().replace("log_every: 1", f"log_every: 1\n  evaluate_every: 4\n  {_lines(more)}"))
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)

    assert (weights(run), figures(run)) == (weights(expected), figures(expected))
    ends = [{k: v for k, v in one.end().items() if k not in {"time", "seconds"}} for one in (run, expected)]
    assert ends[0] == ends[1]
    assert best(run) == best(expected)
    if more in {"early", "all"}:
        assert ends[0]["stopped_early"]
        assert step < ends[0]["step"] < 60


def _lines(more: str) -> str:
    """The fields of `more` on lines of their own."""
    return AROUND[more].replace(", average", "\n  average").replace(", keep", "\n  keep").replace(", rec", "\n  rec")


MOVING = {
    "a sample of its own": ("train:\n", "train:\n  bootstrap: true\n"),
    "snapshots": (
        "schedule: {exponential: {gamma: 0.95}}",
        "schedule: {cosine_restarts: {T_0: 2}}\n  ensemble: {snapshots: 2}",
    ),
    "batches that grow": ("  save_every", "  batch_schedule: {milestones: [1, 3], factor: 1.5}\n  save_every"),
    "a momentum that cycles": ("{exponential: {gamma: 0.95}}", "{one_cycle: {cycle_momentum: true, unit: step}}"),
    "weights that fit the data": ("train:\n", "init: {lsuv: {samples: 50}}\ntrain:\n"),
    "a sum of losses": ("train:\n", "objective: {classification: {loss: {sum: [cross_entropy, hinge]}}}\ntrain:\n"),
}


@pytest.mark.parametrize("step", [2, 7, 12, 14])
@pytest.mark.parametrize("more", MOVING)
def test_what_moves_beside_the_weights_is_where_it_was(spec, tmp_path, more, step):
    path = spec(epochs=5, optimizer="{sgd: {lr: 0.1, momentum: 0.9}}")
    path.write_text(path.read_text().replace(*MOVING[more]))
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)

    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


COMPUTED = {
    "channels last": "channels_last: true",
    "bf16": "precision: bf16",
    "fp16": "precision: fp16\n  clip_norm: 0.01",
    "deterministic": "deterministic: true",
    "watched": "detect_anomaly: true\n  accumulate: 2",
}


@pytest.mark.parametrize("step", [2, 8, 14])
@pytest.mark.parametrize("optimizer", ["adam", "{sgd: {lr: 0.1, momentum: 0.9}}"])
@pytest.mark.parametrize("more", COMPUTED)
def test_however_it_is_computed(spec, tmp_path, more, optimizer, step):
    """The optimizer's state lies as the weights do again, and the scale of the gradients is what it was."""
    path = spec(optimizer, epochs=6)
    text = path.read_text().replace("[1, 6, 6]", "[3, 6, 6]").replace("out_channels: 3", "out_channels: 4")
    path.write_text(text.replace("log_every: 1", f"log_every: 1\n  {COMPUTED[more]}"))
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)

    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


@pytest.mark.parametrize("step", [2, 8])
def test_steps_in_the_layout_of_onednn(spec, tmp_path, step):
    path = spec(epochs=2)
    layers = "- conv: {out_channels: 16, kernel_size: 5}\n    - conv: {out_channels: 32, kernel_size: 5}"
    text = path.read_text().replace("[1, 6, 6]", "[1, 16, 16]")
    path.write_text(text.replace("- conv: {out_channels: 3, kernel_size: 3}", layers))
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)

    formats = [one.read_json("lock.json")["compute"]["memory_format"] for one in (expected, run)]
    assert formats == ["blocked", "blocked"]
    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


def best(run: RunFolder) -> dict[str, str]:
    """The kept checkpoints by name."""
    folder = run.dir / "checkpoints"
    return {path.stem: json.loads(path.read_text())["sha256"] for path in folder.glob("best-*.json")}


AUGMENTED = (
    "[horizontal_flip, {crop: {size: 6, padding: 1}}, {rotate: 10}, elastic, {gaussian_noise: 0.1}, {cutout: 2}, "
    "random_erasing, {one_of: [vertical_flip, {gaussian_noise: 0.3}]}, {mixup: 0.4}]"
)


@pytest.mark.parametrize("step", [1, 4, 5, 9, 19])
def test_augmentation_draws_on_where_it_was(spec, tmp_path, step):
    path = spec(epochs=4)
    text = path.read_text().replace("log_every: 1", f"log_every: 1\n  augment: {AUGMENTED}")
    path.write_text(text + "\n")
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)

    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


def test_a_torn_checkpoint_is_reported_and_the_one_before_it_is_used(spec, tmp_path):
    path = spec()
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", 20)
    *_, newest = sorted((run.dir / "checkpoints").glob("step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-100])
    events = []
    runner.resume(run, events.append)

    assert events[0].step == int(newest.stem[5:]) - 3
    assert f"{newest} is not what was written" in events[0].notes[0]
    assert "the checkpoint before it is used" in events[0].notes[0]
    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


@pytest.mark.parametrize(
    ("suffix", "old", "new"),
    [(".json", b'"step"', b'"stop"'), (".json", b"moved", b"mover"), (".safetensors", b"F32", b"I32")],
)
def test_an_altered_checkpoint_is_passed_over(spec, tmp_path, suffix, old, new):
    path = spec()
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", 20)
    *_, newest = sorted((run.dir / "checkpoints").glob(f"step-*{suffix}"))
    data = newest.read_bytes()
    assert old in data
    newest.write_bytes(data.replace(old, new, 1))
    events = []
    runner.resume(run, events.append)

    assert f"{newest} is not what was written" in events[0].notes[0]
    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


def test_two_states_are_kept_and_no_more(spec, tmp_path):
    run = cut_off(spec(), tmp_path / "cut", 20)
    assert sorted(p.name for p in (run.dir / "checkpoints").iterdir()) == [
        f"step-{n:09d}.{suffix}" for n in (15, 18) for suffix in ("json", "safetensors")
    ]


def test_what_has_finished_or_has_other_data_does_not_go_on(spec, tmp_path):
    path = spec()
    with pytest.raises(DlxError, match="has finished"):
        runner.resume(whole(path, tmp_path / "whole"))
    run = cut_off(path, tmp_path / "cut", 20)
    lock = run.read_json("lock.json")
    lock["data"]["digest"] = "0" * 64
    (run.dir / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(DlxError, match="has changed: its digest was"):
        runner.resume(run)


def test_three_real_kills_at_random_steps_do_not_change_a_bit(spec, tmp_path, copied_trainings):
    found = prove_resume.prove(spec(epochs=60), [], tmp_path / "proof", kills=3, seed=7, steps=300)
    assert len(found.killed) == 3
    assert found.equal, found.as_json()


def test_the_command_takes_a_spec_or_a_run(spec, tmp_path):
    for more in ([], [str(spec()), "--resume", "last"]):
        ran = dlx("train", *more, cwd=tmp_path)
        assert ran.returncode == 2
        assert "give a spec to train, or the run to resume" in ran.stderr
