"""Runs that are trained side by side are runs like others: resumed, reproduced and trained again to the same bits."""

import json
import re
from pathlib import Path

import pytest
import torch
from test_resume import Killed

from dlx.errors import RunError
from dlx.experiment import packing, runner
from dlx.graph import trace_all
from dlx.runs.folder import RunFolder
from dlx.runs.lookup import all_runs
from dlx.spec import Experiment, load
from dlx.trained import compare
from dlx.trained.reproduce import reproduce
from dlx.training import device
from dlx.training.prepared import Prepared

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [1, 6, 6], classes: 4, train: 96, valid: 40, test: 50, seed: 3}}
network: {layers: [{conv: {out_channels: 3, kernel_size: 3}}, batch_norm, relu, {dropout: 0.2}, flatten, {linear: 4}]}
train: {epochs: 6, batch_size: 16, optimizer: {sgd: 0.1}, seed: 5, seeds: 3, save_every: 5, log_every: 1}
track: {mlflow: false}
"""


@pytest.fixture
def spec(tmp_path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return path


def weights(run: RunFolder) -> str:
    return json.loads((run.dir / "checkpoints" / "final.json").read_text())["sha256"]


def test_seeds_are_packed_and_say_so(spec, tmp_path):
    found = runner.run(load(spec), tmp_path / "runs")

    locks = [r.run.read_json("lock.json") for r in found.results]
    assert [lock["way"] for lock in locks] == [{"step": "packed", "because": "3 of one shape"}] * 3
    assert [lock["seed"] for lock in locks] == [5, 6, 7]
    assert [r.steps for r in found.results] == [36] * 3


def test_a_run_of_a_pack_is_trained_again_and_reproduced_to_the_same_bits(spec, tmp_path):
    one = runner.run(load(spec), tmp_path / "runs").results[1].run
    again = runner.run(load(one.dir / "spec.yaml"), tmp_path / "again", like=one).results[0].run

    assert weights(again) == weights(one)
    assert reproduce(one, tmp_path / "third").verdict == "bitwise equal"


def cut_off(path: Path, runs: Path, event: int) -> dict[int, RunFolder]:
    """The runs by seed of a pack that was killed at an event: a kill leaves no end record."""
    events = []

    def callback(happened):
        events.append(happened)
        if len(events) == event:
            raise Killed

    with pytest.raises(Killed):
        runner.run(load(path), runs, callback)
    for run in all_runs(runs):
        records = run.dir / "metrics.jsonl"
        if records.exists() and run.end() is not None:
            records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
        (run.dir / "lock.json").write_text(json.dumps(run.read_json("lock.json") | {"pid": 2**22 + 1}))
    return {load(run.dir / "spec.yaml").train.seed: run for run in all_runs(runs) if not run.members()}


def left_by(run: RunFolder) -> tuple[object, ...]:
    """Its curve with epochs, its end, and all that its checkpoints hold."""
    curve = [(r["record"], r["step"], r["epoch"], r["metrics"]) for r in run.records() if "epoch" in r]
    end = {key: value for key, value in run.end().items() if key not in {"time", "seconds"}}
    return curve, end, {name: compare.contents(path) for name, path in compare.checkpoints(run).items()}


@pytest.mark.parametrize("event", [4, 40, 70])
def test_a_pack_that_was_killed_goes_on_run_by_run_to_the_same_bits(spec, tmp_path, event):
    expected = runner.run(load(spec), tmp_path / "whole")
    ended = cut_off(spec, tmp_path / "cut", event)
    for run in ended.values():
        runner.resume(run)

    assert [weights(ended[r.seed]) for r in expected.results] == [weights(r.run) for r in expected.results]


MOVING = {
    "batches that grow": "batch_schedule: {milestones: [1, 3]}",
    "averages": "average: {swa: {start: 0.3, every: 2}}, recompute_statistics: true",
    "early stopping": "early_stopping: {patience: 2}, keep_best: 2, evaluate_every: 4",
    "a plateau": "schedule: {plateau: {metric: valid/loss, patience: 0}}",
    "snapshots": "schedule: {cosine_restarts: {T_0: 2}}, ensemble: {snapshots: 2}",
    "an uneven epoch": "batch_size: 20, accumulate: 2",
}


@pytest.mark.parametrize("event", [30, 55])
@pytest.mark.parametrize("more", MOVING)
def test_what_a_packed_training_moves_is_where_it_was(spec, tmp_path, more, event):
    """States at 6, 12, ...: at ends of epochs, between two of them, and at the last step, which averages follow."""
    text = SPEC.replace("batch_size: 16, ", "") if "batch_size" in MOVING[more] else SPEC
    spec.write_text(text.replace("save_every: 5", f"save_every: 6, {MOVING[more]}"))
    expected = runner.run(load(spec), tmp_path / "whole")
    ended = cut_off(spec, tmp_path / "cut", event)
    for run in ended.values():
        runner.resume(run)

    for result in expected.results:
        assert left_by(ended[result.seed]) == left_by(result.run)


@pytest.mark.parametrize("event", [3, 45])
def test_members_that_go_on_from_different_steps_take_the_steps_they_would_have(spec, tmp_path, event):
    """One of them is at the end of an epoch, on fewer examples, where the others are not."""
    text = SPEC.replace("seeds: 3", "ensemble: 3").replace("batch_size: 16", "batch_size: 20")
    spec.write_text(text)
    expected = runner.run(load(spec), tmp_path / "whole")
    ended = cut_off(spec, tmp_path / "cut", event)
    states = sorted((ended[6].dir / "checkpoints").glob("step-*"))
    for path in states[2:]:
        path.unlink()
    (top,) = (run for run in all_runs(tmp_path / "cut") if (run.dir / "ensemble.json").exists())
    _, results = runner.resume(top)

    assert len(all_runs(tmp_path / "cut")) == 4
    assert results.metrics == expected.metrics
    for one, other in zip(results.results, expected.results, strict=True):
        assert left_by(one.run)[:2] == left_by(other.run)[:2]
        assert weights(one.run) == weights(other.run)


@pytest.mark.parametrize(
    "place", ["dlx.experiment.packing.train_together", "dlx.experiment.recorder.RunRecorder.resume"]
)
def test_a_pack_that_was_killed_before_its_first_step_says_that_it_is_one(spec, tmp_path, monkeypatch, place):
    expected = runner.run(load(spec), tmp_path / "whole")

    def killed(*_: object, **__: object):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, killed)
        with pytest.raises(Killed):
            runner.run(load(spec), tmp_path / "cut")
    found = {load(run.dir / "spec.yaml").train.seed: run for run in all_runs(tmp_path / "cut")}
    assert [found[seed].numeric_settings() for seed in (5, 6, 7)] == [{"threads": 1, "packed": True}] * 3
    for result in expected.results:
        run = found[result.seed]
        (run.dir / "lock.json").write_text(json.dumps(run.read_json("lock.json") | {"pid": 2**22 + 1}))
        (run.dir / "metrics.jsonl").unlink(missing_ok=True)
        runner.resume(run)
        assert left_by(run) == left_by(result.run)


def test_what_ends_one_leaves_the_others_their_results(spec, tmp_path):
    with pytest.raises(RunError):
        runner.run(load(spec, ["train.optimizer.sgd=1e30"]), tmp_path / "runs")

    assert {run.end()["status"] for run in all_runs(tmp_path / "runs")} == {"failed"}


def test_trace_false_trains_one_after_the_other(spec, tmp_path):
    found = runner.run(load(spec, ["+train.trace=false"]), tmp_path / "runs")

    assert {r.run.read_json("lock.json")["way"]["step"] for r in found.results} == {"plain"}


# --- the device that is chosen decides ------------------------------------------------------------------------------

ALONE = "Trainings on cuda:0 take their steps one by one: they are packed on the CPU alone."


def with_gpu(name: str) -> torch.device:
    """What `device.pick` gives on a machine with a GPU."""
    return torch.device("cpu" if name == "cpu" else "cuda:0")


def prepare(loaded: Experiment) -> Prepared:
    """A spec with what a training takes, unchecked: there is no GPU to ask for its memory."""
    return Prepared.unchecked(loaded, trace_all(loaded), loaded.data.load())


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0"])
def test_what_is_trained_on_a_gpu_is_not_packed_whatever_the_spec_calls_it(spec, monkeypatch, name):
    monkeypatch.setattr(device, "pick", with_gpu)
    loaded = load(spec, [f"+train.device={name}"])
    made = prepare(loaded)

    assert packing.packing_key(made) is None
    assert packing.with_packing_note(made).sets.notes == (*made.sets.notes, ALONE)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_what_is_trained_on_the_cpu_is_packed_whatever_the_spec_calls_it(spec, monkeypatch, name):
    monkeypatch.setattr(device, "pick", lambda _: torch.device("cpu"))
    loaded = load(spec, [f"+train.device={name}"])
    made = prepare(loaded)

    assert packing.packing_key(made) is not None
    assert packing.with_packing_note(made) is made


def test_what_stays_on_disk_is_read_for_one_training_at_a_time(spec, monkeypatch):
    made = prepare(load(spec))
    assert packing.packing_key(made) is not None
    monkeypatch.setattr(type(made.sets.train), "streams", True)
    assert packing.packing_key(made) is None
    assert "the training set stays on disk" in packing.with_packing_note(made).sets.notes[-1]


def test_where_the_spec_wants_no_packing_the_device_is_not_blamed(spec, monkeypatch):
    monkeypatch.setattr(device, "pick", with_gpu)
    loaded = load(spec, ["+train.trace=false"])
    made = prepare(loaded)

    assert packing.with_packing_note(made) is made


def test_seeds_on_a_device_that_does_not_pack_are_trained_one_by_one_and_say_why(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "can_pack", lambda train: False)
    events = []
    found = runner.run(load(spec), tmp_path / "runs", events.append)

    assert [r.run.read_json("lock.json").get("packed") for r in found.results] == [None] * 3
    notes = [event.notes for event in events if isinstance(event, runner.TrainingStarted)]
    assert len(notes) == 3
    assert all(notes[-1].endswith("they are packed on the CPU alone.") for notes in notes)


def test_more_seeds_than_memory_holds_at_once_come_one_by_one_and_go_on_so(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "free_memory", lambda _=None: 1_000_000)
    many = load(spec, ["train.epochs=1"])
    assert packing.beyond_memory(prepare(many), 3) == ""
    said = packing.beyond_memory(prepare(many), 1000)
    assert re.fullmatch(r"1,000 trainings at once want [\d.]+ MB, and 1 MB are free", said)

    monkeypatch.setattr(packing, "beyond_memory", lambda _, count: f"{count} trainings want more than there is")
    found = runner.run(load(spec, ["train.epochs=1"]), tmp_path / "runs")
    ways = [result.run.lock()["way"]["step"] for result in found.results]
    assert len(ways) == 3
    assert "packed" not in ways
    alone = runner.run(load(spec, ["train.epochs=1", "train.seeds=1"]), tmp_path / "alone").results[0].run
    assert weights(found.results[0].run) == weights(alone)
    told = [note for event in events_of(spec, tmp_path / "again") for note in event.notes]
    assert told == ["3 trainings want more than there is: the trainings come one after the other."] * 3


def events_of(spec, runs):
    events = []
    runner.run(load(spec, ["train.epochs=1"]), runs, events.append)
    return [event for event in events if isinstance(event, runner.TrainingStarted)]


def test_an_ensemble_that_began_one_by_one_goes_on_so_where_there_is_memory_now(spec, tmp_path, monkeypatch):
    text = SPEC.replace("seeds: 3", "ensemble: {members: 3}").replace("epochs: 6", "epochs: 2")
    spec.write_text(text)
    monkeypatch.setattr(packing, "beyond_memory", lambda *_: "they want more than there is")
    whole = runner.run(load(spec), tmp_path / "whole")

    def kills(event):
        if getattr(event, "record", "") == "end":
            raise Killed

    with pytest.raises(Killed):
        runner.run(load(spec), tmp_path / "runs", kills)
    monkeypatch.setattr(packing, "beyond_memory", lambda *_: "")
    (run,) = [one for one in all_runs(tmp_path / "runs") if one.members()]
    _, found = runner.resume(run)
    assert [weights(one.run) for one in found.results] == [weights(one.run) for one in whole.results]
    assert "packed" not in {one.run.lock()["way"]["step"] for one in found.results}


def test_a_run_that_was_packed_goes_on_by_itself_where_the_device_does_not_pack(spec, tmp_path, monkeypatch):
    run = cut_off(spec, tmp_path / "runs", 40)[5]
    monkeypatch.setattr(device, "can_pack", lambda train: False)
    events = []
    _, found = runner.resume(run, events.append)

    begun = next(event for event in events if isinstance(event, runner.TrainingStarted))
    assert begun.notes[-1].endswith("they are packed on the CPU alone.")
    assert (found.results[0].status, found.results[0].steps) == ("finished", 36)
    assert run.read_json("lock.json")["way"]["step"] != "packed"
