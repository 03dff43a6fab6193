"""What stands in the folder of a run and is whole, but of another run: one sentence with the file."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from test_resume import Killed, killed_at

from dlx import cli
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 80, valid: 40}}
network: {layers: [{linear: WIDTH}, batch_norm, relu, {linear: 4}]}
train: {epochs: 4, batch_size: 20, optimizer: adam, seed: 1, save_every: 3, early_stopping: {patience: 9}}
track: {mlflow: false}
"""


def died(folder: Path, width: int = 5, *changes: str) -> RunFolder:
    """A run that was killed at its eighth step, of sixteen: its states are of steps 3 and 6."""
    folder.mkdir()
    (folder / "s.yaml").write_text(SPEC.replace("WIDTH", str(width)))
    with pytest.raises(Killed):
        runner.run(load(folder / "s.yaml", changes), folder / "runs", killed_at(8))
    (run,) = map(RunFolder, (folder / "runs" / "s").iterdir())
    records = run.dir / "metrics.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
    (run.dir / "lock.json").write_text(json.dumps(run.read_json("lock.json") | {"pid": 2**22 + 1}))
    return run


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return died(tmp_path / "own")


def refused(run: RunFolder, path: Path | str) -> str:
    """Why the run does not go on, in a sentence that names the file."""
    with pytest.raises(DlxError) as error:
        runner.resume(run)
    (problem,) = error.value.problems
    assert problem.message.startswith(str(run.dir / path))
    assert problem.hint
    return problem.message.removeprefix(str(run.dir / path)).strip()


def take_over(run: RunFolder, other: RunFolder, pattern: str) -> None:
    for path in other.dir.glob(pattern):
        shutil.copyfile(path, run.dir / path.relative_to(other.dir))


def rewrite(path: Path, change) -> None:
    """Other facts beside a checkpoint, with the checksum that belongs to them."""
    facts = json.loads(path.read_text())
    del facts["facts_sha256"]
    change(facts)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(facts | {"facts_sha256": digest}))


STATE = Path("checkpoints") / "step-000000006"
TENSORS, FACTS = STATE.with_suffix(".safetensors"), STATE.with_suffix(".json")


def test_checkpoints_of_another_spec(run, tmp_path):
    take_over(run, died(tmp_path / "other", 5, "train.seed=2"), "checkpoints/*")
    assert refused(run, TENSORS) == "is of the training of another spec than spec.yaml"


OTHERS = {
    "width": (
        7,
        (),
        "is a checkpoint of another network: `linear_1.weight` is float32 [7, 6] there, and float32 [5, 6] here",
    ),
    "optimizer": (5, ("train.optimizer=sgd",), "is not a state of this training: it is of another optimizer"),
    "stopping": (5, ("~train.early_stopping",), "is not a state of this training: its `stopping` is not one of"),
    "length": (5, (), "is not a state of this training: it is of step 6, and the training has 4"),
    "network": (
        5,
        ("network.layers.batch_norm_1=layer_norm",),
        "is a checkpoint of another network: `batch_norm_1.weight` is noth",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_checkpoints_of_another_spec_from_before_they_said_of_which(tmp_path, name):
    width, changes, sentence = OTHERS[name]
    run = died(tmp_path / "own")
    if name == "length":
        other = run
        text = (run.dir / "spec.yaml").read_text()
        (run.dir / "spec.yaml").write_text(text.replace("epochs: 4", "epochs: 1"))
        (run.dir / "metrics.jsonl").unlink()
        (run.dir / "lock.json").write_text("{}")
    else:
        other = died(tmp_path / "other", width, *changes)
    for path in other.dir.glob("checkpoints/*.json"):
        rewrite(path, lambda facts: facts.pop("spec_hash"))
    if other is not run:
        take_over(run, other, "checkpoints/*")
    assert refused(run, TENSORS).startswith(sentence)


@pytest.mark.parametrize("name", ["lock.json", "metrics.jsonl"])
def test_a_lock_and_records_of_another_spec(run, tmp_path, name):
    take_over(run, died(tmp_path / "other", 5, "train.seed=2"), name)
    assert refused(run, name) == f"is of the training of another spec than {run.dir / 'spec.yaml'}"


def test_a_spec_of_another_run(run, tmp_path):
    take_over(run, died(tmp_path / "other", 5, "train.seed=2"), "spec.yaml")
    assert refused(run, "lock.json") == f"is of the training of another spec than {run.dir / 'spec.yaml'}"


def moved(key: str, *value: object):
    """Put a value in the place of what is called so in the state, at any depth; without one, take that away."""

    def changed(there):
        if not isinstance(there, dict) or "dict" not in there:
            return there
        remaining = [(name, one) for name, one in there["dict"] if name != key or value]
        return {"dict": [[name, value[0] if name == key else changed(one)] for name, one in remaining]}

    return lambda facts: facts.update(moved=changed(facts["moved"]))


ODD = {
    "a step that is a word": (lambda f: f.update(step="six"), FACTS, "has no facts of a checkpoint: `step` is a num"),
    "a negative step": (lambda f: f.update(step=-6), FACTS, "has no facts of a checkpoint: `step` is a number of st"),
    "metrics in a list": (lambda f: f.update(metrics=[1]), FACTS, "has no facts of a checkpoint: `metrics` is numb"),
    "a metric that is a list": (
        lambda f: f["metrics"].update(a=[]),
        FACTS,
        "has no facts of a checkpoint: `metrics`",
    ),
    "no state": (lambda f: f.pop("moved"), TENSORS, "is not a state of this training: 'moved'"),
    "an empty state": (lambda f: f.update(moved={}), TENSORS, "is not a state of this training: "),
    "a state without a step": (
        moved("step"),
        TENSORS,
        "is not a state of this training: it lacks step",
    ),
    "another step inside": (moved("step", 3), TENSORS, "is not a state of this training: its step, epoch and place"),
    "a place that is a list": (
        moved("position", {"list": [1]}),
        TENSORS,
        "is not a state of this training: its step",
    ),
    "a rate that is a word": (
        moved("rate", "fast"),
        TENSORS,
        "is not a state of this training: its `rate` is no num",
    ),
    "no random numbers": (moved("random", None), TENSORS, "is not a state of this training: "),
    "an order that is a number": (moved("order", 5), TENSORS, "is not a state of this training: "),
    "losses that are a word": (moved("losses", "low"), TENSORS, "is not a state of this training: "),
    "an optimizer that is a list": (moved("optimizer", {"list": []}), TENSORS, "is not a state of this training: "),
    "a tensor that is not there": (moved("order", {"tensor": "state/none"}), TENSORS, "is not a state of this train"),
    "stopping that is a number": (
        moved("stopping", 5),
        TENSORS,
        "is not a state of this training: its `stopping` is",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_facts_of_odd_types_with_a_checksum_of_their_own(run, name):
    change, path, sentence = ODD[name]
    rewrite(run.dir / FACTS, change)
    assert refused(run, path).startswith(sentence)


def test_weights_that_are_no_tensors(run):
    path = run.dir / TENSORS
    path.write_bytes(b"not tensors at all")
    rewrite(run.dir / FACTS, lambda facts: facts.update(sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    assert refused(run, TENSORS).startswith("holds no tensors: ")


@pytest.mark.parametrize("path", [TENSORS, FACTS])
def test_a_named_pipe_is_passed_over(run, path):
    (run.dir / path).unlink()
    os.mkfifo(run.dir / path)
    events = []
    runner.resume(run, events.append)
    assert events[0].step == 3
    assert events[0].notes[0].startswith(f"{run.dir / path} cannot be read: it is a named pipe, and no file; ")


def test_facts_that_are_nested_deep_are_passed_over(run):
    (run.dir / FACTS).write_text("[" * 100_000 + "]" * 100_000)
    events = []
    runner.resume(run, events.append)
    assert events[0].step == 3
    assert events[0].notes[0].startswith(f"{run.dir / FACTS} is not what was written")


def test_the_best_that_are_of_another_run_are_passed_over(tmp_path):
    run = died(tmp_path / "own", 5, "+train.keep_best=2")
    wanted = runner.run(load(tmp_path / "own" / "s.yaml", ["+train.keep_best=2"]), tmp_path / "whole").results[0]
    rewrite(run.dir / "checkpoints" / "best-1.json", lambda facts: facts.pop("value"))
    _, results = runner.resume(run)
    assert results.results[0].outcome == wanted.outcome


def test_a_finished_run_with_other_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SPEC.replace("WIDTH", "5"))
    run = runner.run(load(Path("s.yaml")), Path("runs")).results[0].run
    with pytest.raises(DlxError) as error:
        cli.app(["train", "--resume", "last", "train.batch_size=8"], standalone_mode=False)
    assert error.value.problems[0].message == (
        f"{run.key} has finished, and goes on with another length alone: train.epochs=N or train.steps=N"
    )
    command = f"dlx train {run.dir} train.batch_size=8"
    assert error.value.problems[0].hint == f"`{command}` trains its spec anew with them."
    cli.app([*command.split()[1:], "--json"], standalone_mode=False)

    with pytest.raises(DlxError) as error:
        runner.resume(run)
    assert error.value.problems[0].message == f"{run.key} has finished, at step 16"
    longer = f"`dlx train --resume {run.argument} train.epochs=N` trains it for longer, N in all."
    assert error.value.problems[0].hint == longer


def test_a_run_that_was_cut_off_takes_no_changes(run, tmp_path):
    with pytest.raises(DlxError) as error:
        cli.app(["train", "--resume", str(run.dir), "train.epochs=20", "~train.seed"], standalone_mode=False)
    assert error.value.problems[0].message == (
        f"{run.key} goes on as it was, to the same bits, and takes no changes: train.epochs=20 ~train.seed"
    )
