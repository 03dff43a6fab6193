"""Ensembles: members that differ in their seed, snapshots of one training, and what they come to together."""

import json
from pathlib import Path

import pytest
import torch
from test_resume import Killed, killed_at
from torch.nn import functional as F

from dlx.errors import DlxError, RunError, SpecError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.runs.lookup import all_runs, find
from dlx.schedules import SCHEDULES, Timeline
from dlx.spec import load
from dlx.training.batches.bootstrap import bootstrap_indices
from dlx.training.checkpoints.checkpoint import restore

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 96, valid: 40, test: 50, seed: 3}}
network: {layers: [{linear: 8}, relu, {dropout: 0.2}, {linear: 4}]}
train:
  epochs: 4
  batch_size: 16
  optimizer: {sgd: 0.3}
  seed: 5
  save_every: 5
  log_every: 1
track: {mlflow: false}
"""


@pytest.fixture
def spec(tmp_path):
    def written(train: str = "", text: str = SPEC) -> Path:
        path = tmp_path / "s.yaml"
        path.write_text(text.replace("  seed: 5\n", f"  seed: 5\n  {train}\n"))
        return path

    return written


def trained(path: Path, runs: Path, *changes: str) -> runner.Results:
    return runner.run(load(path, changes), runs)


def outputs_of(runs, x):
    """What the networks of several run folders say, as they were kept."""
    with torch.inference_mode():
        return torch.stack([restore(run.dir)[0](torch.from_numpy(x)) for run in runs])


# --- members --------------------------------------------------------------------------------------------------------


def test_members_are_the_runs_of_as_many_seeds(spec, tmp_path):
    found = trained(spec("ensemble: 3"), tmp_path / "runs")
    flattened = trained(spec("seeds: 3"), tmp_path / "alone")

    assert [r.seed for r in found.results] == [5, 6, 7]
    assert [r.metrics for r in found.results] == [r.metrics for r in flattened.results]
    for name in ("valid/loss", "test/error", "train/loss"):
        assert found.metrics[name] == flattened.metrics[name]


def test_the_metrics_together_are_those_of_the_mean_of_the_probabilities(spec, tmp_path):
    path = spec("ensemble: 3")
    found = trained(path, tmp_path / "runs")
    test = load(path).data.load().test
    p = outputs_of([r.run for r in found.results], test.x).softmax(2).mean(0)
    y = torch.from_numpy(test.y)

    assert found.metrics["test/ensemble_loss"] == pytest.approx(F.nll_loss(p.log(), y).item(), rel=1e-5)
    assert found.metrics["test/ensemble_error"] == pytest.approx((p.argmax(1) != y).float().mean().item())
    assert found.metrics["test/ensemble_accuracy"] == pytest.approx(1 - found.metrics["test/ensemble_error"])
    assert "valid/ensemble_loss" in found.metrics
    assert "train/ensemble_loss" not in found.metrics


def test_five_networks_vote(tmp_path):
    """As Nielsen 2015, chapter 6, has five convolutional networks vote; a tiny one here."""
    path = tmp_path / "vote.yaml"
    path.write_text("""\
name: vote
data: {digits: {train: 300}}
network:
  layers:
    - conv: {out_channels: 4, kernel_size: 3}
    - relu
    - max_pool: 2
    - flatten
    - dropout: 0.5
    - linear: 10
train: {epochs: 4, batch_size: 10, optimizer: {sgd: 0.1}, ensemble: {members: 5, combine: vote}}
expect: {test/ensemble_error: {at_most: 0.5, source: "chapter 6"}}
track: {mlflow: false}
""")
    found = trained(path, tmp_path / "runs")
    test = load(path).data.load().test
    outputs = outputs_of([r.run for r in found.results], test.x)
    ballots = F.one_hot(outputs.argmax(2), 10).sum(0) + outputs.softmax(2).mean(0) / 2  # a tie breaks, no more
    error = (ballots.argmax(1) != torch.from_numpy(test.y)).float().mean().item()

    assert found.metrics["test/ensemble_error"] == pytest.approx(error)
    assert found.metrics["test/ensemble_error"] < found.metrics["test/error"] < 0.5
    assert "test/ensemble_loss" not in found.metrics


def test_regression_averages_what_its_members_say(spec, tmp_path):
    text = SPEC.replace("classes: 4", "target: [2]").replace("{linear: 4}", "{linear: 2}").replace("0.3}", "0.05}")
    path = spec("ensemble: 2", text)
    found = trained(path, tmp_path / "runs")
    test = load(path).data.load().test
    mean = outputs_of([r.run for r in found.results], test.x).mean(0)

    difference = mean - torch.from_numpy(test.y)
    assert found.metrics["test/ensemble_mse"] == pytest.approx(difference.square().mean().item(), rel=1e-5)
    assert found.metrics["test/ensemble_mse"] <= found.metrics["test/mse"]


def test_an_ensemble_has_a_run_of_its_own(spec, tmp_path):
    runs = tmp_path / "runs"
    found = trained(spec("ensemble: {members: 2, combine: vote}"), runs)
    own = found.together.run

    assert len(all_runs(runs)) == 3
    assert find("last", runs).dir == own.dir.absolute()
    assert own.members() == [r.run.key for r in found.results]
    assert own.end()["metrics"] == found.metrics
    assert own.end()["status"] == own.status() == "finished"
    assert own.end()["step"] == 2 * 24
    assert load(own.dir / "spec.yaml").train.ensemble.combine == "vote"
    member = load(found.results[1].run.dir / "spec.yaml").train
    assert (member.ensemble, member.seed, member.seeds) == (None, 6, 1)


def test_the_document_has_the_members_beside_what_they_came_to(spec, tmp_path):
    found = trained(spec("ensemble: 2"), tmp_path / "runs")
    document = json.loads(json.dumps(found.as_json()))

    assert document["run"] == found.together.run.key
    assert document["metrics"]["test/ensemble_error"] == found.metrics["test/ensemble_error"]
    assert [m["seed"] for m in document["members"]] == [5, 6]
    assert [m["metrics"] for m in document["members"]] == [r.metrics for r in found.results]
    assert "seeds" not in document
    assert set(document["interval95"]) == set(found.results[0].metrics)


@pytest.mark.parametrize("step", [2, 17])
@pytest.mark.parametrize(("member", "trace"), [(0, "false"), (1, "false"), (1, "auto")])
def test_an_ensemble_that_was_killed_goes_on_with_the_member_it_was_at(spec, tmp_path, step, member, trace):
    """One after the other, or side by side: then both have begun."""
    path = spec(f"ensemble: {{members: 2, bootstrap: true}}\n  trace: {trace}")
    expected = trained(path, tmp_path / "whole")
    begun = []

    def callback(event):
        begun.append(event) if isinstance(event, runner.TrainingStarted) else None
        if len(begun) == member + 1:
            killed_at(step)(event)

    with pytest.raises(Killed):
        runner.run(load(path), tmp_path / "cut", callback)
    own = find("last", tmp_path / "cut")
    for folder in (tmp_path / "cut" / "s").iterdir():  # a kill leaves no end record
        if RunFolder(folder).status() != "finished":
            records = folder / "metrics.jsonl"
            records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
            lock = json.loads((folder / "lock.json").read_text())
            (folder / "lock.json").write_text(json.dumps(lock | {"pid": 2**22 + 1}))
    _, found = runner.resume(own)

    assert found.metrics == expected.metrics
    assert [r.metrics for r in found.results] == [r.metrics for r in expected.results]
    assert len(all_runs(tmp_path / "cut")) == 3


def test_a_member_that_fails_is_reported_in_the_run_of_the_ensemble(spec, tmp_path):
    with pytest.raises(RunError):
        trained(spec("ensemble: 2"), tmp_path / "runs", "train.optimizer.sgd=1e9", "train.epochs=30")
    own = next(run for run in all_runs(tmp_path / "runs") if run.members())

    assert own.end()["status"] == "failed"
    assert own.end()["message"].startswith(("the loss is", "the weights of"))


# --- bootstrap ------------------------------------------------------------------------------------------------------


def test_a_bootstrap_is_drawn_with_replacement_and_is_that_of_its_seed():
    first, again, other = (bootstrap_indices(1000, seed) for seed in (5, 5, 6))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first) == 1000
    assert 0 <= first.min() <= first.max() < 1000
    assert 600 < len(first.unique()) < 665  # 1 - 1/e of them


def test_each_member_of_a_bagging_sees_examples_of_its_own(spec, tmp_path, monkeypatch):
    from dlx.training.batches.example_order import Examples

    seen: dict[int, set[int]] = {}
    plain = Examples.begin

    def begin(self):
        plain(self)
        seen.setdefault(self.train.seed, set()).update(self.order.tolist())

    monkeypatch.setattr(Examples, "begin", begin)
    found = trained(spec("ensemble: {members: 2, bootstrap: true}"), tmp_path / "runs")

    assert seen == {seed: set(bootstrap_indices(96, seed).tolist()) for seed in (5, 6)}
    assert all(load(r.run.dir / "spec.yaml").train.bootstrap for r in found.results)
    again = trained(found.results[1].run.dir / "spec.yaml", tmp_path / "again")
    assert again.results[0].metrics == pytest.approx(found.results[1].metrics, rel=1e-5)


# --- snapshots ------------------------------------------------------------------------------------------------------

CYCLES = "schedule: {cosine_restarts: {T_0: 6, unit: step}}\n  ensemble: {snapshots: 2}"


@pytest.mark.parametrize(
    ("options", "steps", "ends"),
    [
        ({"T_0": 6, "unit": "step"}, 24, [6, 12, 18, 24]),
        ({"T_0": 2}, 23, [12]),
        ({"T_0": 2, "T_mult": 2}, 50, [12, 36]),
        ({"T_0": 7, "unit": "step"}, 24, [7, 14, 21]),
    ],
)
def test_cycles_end_where_the_rate_jumps_up_again(options, steps, ends):
    schedule, span = SCHEDULES["cosine_restarts"](**options), Timeline(steps, 6)
    rates = [schedule.at(step, span) for step in range(steps + 1)]

    assert schedule.cycles(span) == ends
    assert [s for s in range(1, steps + 1) if rates[s] > rates[s - 1]] == ends
    late = SCHEDULES["warmup"](steps=4, then=schedule)
    assert late.cycles(Timeline(steps + 4, 6)) == [end + 4 for end in ends]


def test_snapshots_are_the_weights_at_the_ends_of_the_cycles(spec, tmp_path):
    found = trained(spec(CYCLES), tmp_path / "runs")
    folder = found.results[0].run.dir / "checkpoints"

    for number, step in enumerate((6, 12, 18, 24), 1):
        assert json.loads((folder / f"snapshot-{number}.json").read_text())["step"] == step
    cut = trained(spec("schedule: {cosine_restarts: {T_0: 6, unit: step}}"), tmp_path / "cut", "train.epochs=2")
    first, last = restore(found.results[0].run.dir, "snapshot-2")[0], restore(cut.results[0].run.dir)[0]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), last.parameters(), strict=True))


def test_the_last_snapshots_answer_together(spec, tmp_path):
    path = spec(CYCLES)
    found = trained(path, tmp_path / "runs")
    run = found.results[0].run
    test = load(path).data.load().test
    with torch.inference_mode():
        each = [restore(run.dir, f"snapshot-{n}")[0](torch.from_numpy(test.x)).softmax(1) for n in (3, 4)]
    p = torch.stack(each).mean(0)

    assert found.metrics["test/ensemble_loss"] == pytest.approx(
        F.nll_loss(p.log(), torch.from_numpy(test.y)).item(), rel=1e-5
    )
    assert run.end()["metrics"] == found.metrics


@pytest.mark.parametrize("step", [5, 6, 7, 13, 23])
def test_snapshots_are_the_same_after_a_kill(spec, tmp_path, step):
    path = spec(CYCLES)
    expected = trained(path, tmp_path / "whole").results[0]
    with pytest.raises(Killed):
        runner.run(load(path), tmp_path / "cut", killed_at(step))
    run = find("last", tmp_path / "cut")
    lock = json.loads((run.dir / "lock.json").read_text())
    (run.dir / "lock.json").write_text(json.dumps(lock | {"pid": 2**22 + 1}))
    _, found = runner.resume(run)

    assert found.metrics == expected.metrics
    for number in (1, 2, 3, 4):
        names = [f"checkpoints/snapshot-{number}.safetensors"] * 2
        mine, theirs = (one.dir / name for one, name in zip((run, expected.run), names, strict=True))
        assert mine.read_bytes() == theirs.read_bytes()


def test_snapshots_and_several_seeds_give_an_interval(spec, tmp_path):
    found = trained(spec(CYCLES + "\n  seeds: 2"), tmp_path / "runs")

    assert found.together is None
    assert "test/ensemble_error" in found.intervals


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ("ensemble: 1", "`members` must be at least 2, not 1"),
        ("ensemble: {combine: vote}", "an ensemble has `members: N` or `snapshots: N`: give one of the two"),
        ("ensemble: {members: 3, snapshots: 3}", "an ensemble has `members: N` or `snapshots: N`"),
        ("ensemble: {members: 3, combine: median}", '`combine` must be "average", "vote" or "unanimous"'),
        ("ensemble: {member: 3}", "`ensemble` has no field `member`"),
        ("ensemble: 3\n  seeds: 2", "`ensemble` trains 3 networks and `seeds` 2: give one of the two"),
        ("ensemble: 3\n  bootstrap: true", "write `ensemble: {members: N, bootstrap: true}`"),
        ("ensemble: {snapshots: 3}", "a snapshot is taken where the schedule starts again, and constant never does"),
        ("ensemble: {snapshots: 3, bootstrap: true}", "`bootstrap` gives each member examples of its own"),
        (CYCLES + "\n  early_stopping: {}", "`early_stopping` may end before the cycles that `snapshots` wants"),
        (
            CYCLES.replace("snapshots: 2", "snapshots: 5"),
            "5 snapshots want 5 cycles, and cosine_restarts ends 4 in 24 steps of 6 an epoch",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(spec, tmp_path, train, sentence):
    with pytest.raises(DlxError) as error:
        trained(spec(train), tmp_path / "runs")
    assert sentence in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_regression_does_not_vote(spec, tmp_path):
    text = SPEC.replace("classes: 4", "target: [2]").replace("{linear: 4}", "{linear: 2}")
    with pytest.raises(SpecError) as error:
        trained(spec("ensemble: {members: 3, combine: vote}", text), tmp_path / "runs")
    assert "s.yaml:10:26  train.ensemble" in str(error.value)
    assert "networks vote for classes, and regression has values\n  Write `combine: average`." in str(error.value)
