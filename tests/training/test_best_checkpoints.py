"""The best evaluations of a run leave their weights as best-1, best-2 and so on."""

import json
import shutil

import pytest
import torch
from helpers import experiment_of
from torch import nn

from dlx.experiment import runner as experiments
from dlx.runs.folder import RunFolder
from dlx.training import fit as loop
from dlx.training.checkpoints import best_checkpoints, checkpoint
from dlx.training.checkpoints.checkpoint import restore

SPEC = """
name: small
data: {{synthetic: {{shape: [5], classes: 3, train: 70, valid: 20, test: null, seed: 1}}}}
network: {{layers: [{{linear: 8}}, tanh, {{linear: 3}}]}}
train: {{{train}}}
track: {{mlflow: false}}
"""
TRAIN = "steps: 14, batch_size: 16, optimizer: {sgd: 0.1}, evaluate_every: 2"


def numbered(value: float) -> nn.Module:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def offered(folder, values, count=3, mode="min", first=1):
    for step, value in enumerate(values, first):
        best_checkpoints.save_if_best(folder, numbered(step), {"step": step, "value": value}, mode, count)
    return ranks(folder)


def ranks(folder) -> list[tuple[int, float]]:
    """Step and value of each that is kept; each must be whole and have the weights of its step."""
    found = []
    for facts in best_checkpoints.ranked_facts(folder):
        about, tensors = checkpoint.read(folder, f"best-{len(found) + 1}")
        assert about["file"] == f"best-{len(found) + 1}.safetensors"
        assert tensors["weight"].item() == about["step"] == facts["step"]
        found.append((facts["step"], facts["value"]))
    names = {f"best-{n}.{suffix}" for n in range(1, len(found) + 1) for suffix in ("json", "safetensors")}
    assert {path.name for path in folder.glob("*")} == names
    return found


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        ([5, 4, 6, 3, 7], "min", [(4, 3), (2, 4), (1, 5)]),
        ([5, 4, 6, 3, 7], "max", [(5, 7), (3, 6), (1, 5)]),
        ([2, 2, 2, 2], "min", [(1, 2), (2, 2), (3, 2)]),
        ([3, 2, 2, 3, 2, 2], "min", [(2, 2), (3, 2), (5, 2)]),
        ([float("nan"), 1], "min", [(2, 1)]),
        ([1], "max", [(1, 1)]),
    ],
)
def test_the_best_stand_in_order_and_of_equal_ones_the_earlier(tmp_path, values, mode, expected):
    assert offered(tmp_path, values, mode=mode) == expected


def test_one_is_kept_where_one_is_wanted(tmp_path):
    assert offered(tmp_path, [5, 4, 6, 3, 7], count=1) == [(4, 3)]


class Killed(BaseException):
    """Stands for a kill: nothing gets to clean up."""


def test_a_kill_at_any_moment_loses_none_of_those_that_stay(tmp_path, monkeypatch):
    """Another one comes in first: each of its moves on disk is once the last."""
    really, moment = checkpoint.rename, 0
    write_facts = checkpoint._write_facts
    while True:
        moment += 1
        folder = tmp_path / str(moment)
        offered(folder, [5, 4, 6])
        left = moment

        def counted(function, *args):
            nonlocal left
            left -= 1
            if not left:
                raise Killed
            return function(*args)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "_write_facts", lambda *args: counted(write_facts, *args))
            patch.setattr(checkpoint, "rename", lambda *args: counted(really, *args))
            try:
                best_checkpoints.save_if_best(folder, numbered(9), {"step": 9, "value": 1}, "min", 3)
            except Killed:
                pass
            else:
                break
        again = tmp_path / f"{moment}-earlier"
        shutil.copytree(folder, again)
        best_checkpoints.repair(folder, 9, "min")
        best_checkpoints.repair(again, 8, "min")
        assert [one for one in ranks(folder) if one[0] != 9][:2] == [(2, 4), (1, 5)]
        assert ranks(again)[:2] == [(2, 4), (1, 5)]
        assert offered(again, [1], first=9) == [(9, 1), (2, 4), (1, 5)]
    assert moment > 6


def test_what_is_torn_or_comes_later_goes_when_a_run_is_taken_up(tmp_path):
    offered(tmp_path, [5, 4, 3, 6])
    path = tmp_path / "best-2.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    best_checkpoints.repair(tmp_path, 2, "min")
    assert ranks(tmp_path) == [(1, 5)]


@pytest.fixture
def scripted(monkeypatch):
    values = {2: 0.5, 4: 0.3, 6: 0.4, 8: 0.3, 10: 0.6, 12: 0.2, 14: 0.9}
    really = loop.evaluate

    def measured(job, name):
        return really(job, name) | ({"valid/loss": values[job.progress.step]} if name == "valid" else {})

    monkeypatch.setattr(loop, "evaluate", measured)


def test_a_run_keeps_the_weights_that_were_evaluated(scripted, tmp_path):
    loaded = experiment_of(SPEC.format(train=f"{TRAIN}, keep_best: 3, average: {{ema: 0.5}}"))
    weights = {}

    def callback(event) -> None:
        if getattr(event, "record", "") == "evaluation":
            folder = next((tmp_path / "small").iterdir()) / "checkpoints"
            weights[event.step] = {
                name: checkpoint.read(folder, name)[1]["linear_1.weight"]
                for name in ("best-1", "best-2", "best-3")
                if (folder / f"{name}.json").exists()
            }

    result = experiments.run(loaded, tmp_path, callback).results[0]
    folder = result.run.dir / "checkpoints"
    facts = json.loads((folder / "best-1.json").read_text())

    assert [(one["step"], one["value"]) for one in best_checkpoints.ranked_facts(folder)] == [
        (12, 0.2),
        (4, 0.3),
        (8, 0.3),
    ]
    assert (
        facts["step"],
        facts["metric"],
        facts["value"],
        facts["metrics"]["valid/loss"],
    ) == (
        12,
        "valid/loss",
        0.2,
        0.2,
    )
    assert torch.equal(weights[4]["best-1"], weights[14]["best-2"])
    assert torch.equal(weights[12]["best-1"], weights[14]["best-1"])
    best, _ = restore(result.run.dir, "best-1")
    final, _ = restore(result.run.dir)
    assert torch.equal(best.linear_1.weight, weights[12]["best-1"])
    assert not torch.equal(best.linear_1.weight, final.linear_1.weight)
    assert result.outcome["kept"][0] == {"name": "best-1", "metric": "valid/loss", "value": 0.2, "step": 12}
    assert result.notes[-1] == "kept by valid/loss: best-1 0.2 (step 12), best-2 0.3 (step 4), best-3 0.3 (step 8)"


def test_best_1_is_what_early_stopping_brings_back(scripted, tmp_path):
    train = f"{TRAIN}, keep_best: 1, early_stopping: {{patience: 4}}"
    result = experiments.run(experiment_of(SPEC.format(train=train)), tmp_path).results[0]
    best, final = restore(result.run.dir, "best-1")[0], restore(result.run.dir)[0]
    assert (
        result.outcome["best"]["step"]
        == best_checkpoints.ranked_facts(result.run.dir / "checkpoints")[0]["step"]
        == 12
    )
    assert all(torch.equal(a, b) for a, b in zip(best.parameters(), final.parameters(), strict=True))


@pytest.mark.parametrize("metric", ["valid/accuracy", "valid/error"])
def test_it_follows_the_metric_of_early_stopping_or_its_own(tmp_path, metric):
    follows = [
        f"keep_best: 2, early_stopping: {{metric: {metric}, patience: 100}}",
        f"keep_best: {{count: 2, metric: {metric}}}",
    ]
    for n, more in enumerate(follows):
        result = experiments.run(experiment_of(SPEC.format(train=f"{TRAIN}, {more}")), tmp_path / str(n)).results[0]
        values = [r["metrics"][metric] for r in RunFolder(result.run.dir).records() if r["record"] == "evaluation"]
        best = sorted(values, reverse=metric == "valid/accuracy")[:2]
        assert [one["value"] for one in result.outcome["kept"]] == best
        assert {one["metric"] for one in result.outcome["kept"]} == {metric}


def test_a_full_disk_is_reported_and_ends_nothing(tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise checkpoint.NotWrittenError("the checkpoint could not be written: no space left")

    monkeypatch.setattr(best_checkpoints, "save_if_best", full)
    result = experiments.run(experiment_of(SPEC.format(train=f"{TRAIN}, keep_best: 3")), tmp_path).results[0]
    assert result.status == "finished"
    assert result.run.end()["message"] == "the checkpoint could not be written: no space left"
