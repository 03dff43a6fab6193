"""Trainings of one spec with a few changes each, which an analysis makes once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.variants import Variant, outputs, planned, trained
from dlx.errors import RunError, SpecError
from dlx.training.prepared import prepare

SPEC = """
dlx: 1
name: v
data: {synthetic: {shape: [4], classes: 3, train: 32, valid: 8, test: 16}}
vars: {width: 3}
network: {layers: [{linear: "${width}"}, relu, {linear: 3}]}
train: {steps: 6, batch_size: 8, optimizer: {adam: 0.01}}
expect: {params: 27}
"""


def two_widths(runs: Path, seeds: int = 2) -> tuple[Variant, ...]:
    """Widths 3 and 5, of two seeds each."""
    spec = experiment_of(SPEC)
    return trained([planned(spec, [f"vars.width={width}"], seeds) for width in (3, 5)], runs)


def starts(runs: Path) -> int:
    """How many trainings were begun, or gone on with."""
    lines = [line for path in runs.rglob("metrics.jsonl") for line in path.read_text().splitlines()]
    return sum(json.loads(line)["record"] == "start" for line in lines)


def test_a_training_that_is_there_is_read_back(tmp_path: Path) -> None:
    first, again = two_widths(tmp_path), two_widths(tmp_path)
    assert [one.metrics for one in first] == [one.metrics for one in again]
    assert [one.graphs.params for one in first] == [27, 43]
    assert starts(tmp_path) == 4


def test_after_a_kill_the_finished_trainings_stay_and_the_rest_comes_to_the_same_weights(tmp_path: Path) -> None:
    whole = two_widths(tmp_path / "whole")
    two_widths(tmp_path / "cut")
    lost = sorted((tmp_path / "cut" / "v").iterdir())[0]
    shutil.rmtree(lost)
    again = two_widths(tmp_path / "cut")
    assert [one.metrics for one in whole] == [one.metrics for one in again]
    assert starts(tmp_path / "cut") == 4


def test_seeds_of_a_variant_are_one_stacked_network(tmp_path: Path) -> None:
    locks = [run.lock() for one in two_widths(tmp_path) for run in one.runs]
    assert all(lock["packed"] for lock in locks)


def test_outputs_are_those_of_which_the_metrics_are(tmp_path: Path) -> None:
    spec = experiment_of(SPEC)
    prepared = prepare(spec)
    part = prepared.parts()["test"]
    one = two_widths(tmp_path)[0]
    right = [float((out.argmax(1) == part.y).float().mean()) for out in outputs(one, prepared.supervised, part)]
    assert right == pytest.approx(one.values("test/accuracy"))
    broken = [torch.roll(out, 1, dims=1) for out in outputs(one, prepared.supervised, part)]
    assert [float((out.argmax(1) == part.y).float().mean()) for out in broken] != pytest.approx(right)


def test_a_variant_that_fails_is_named(tmp_path: Path) -> None:
    spec = experiment_of(SPEC)
    with pytest.raises(
        RunError, match=r"the training of train\.optimizer=\{sgd: 1e30\}, seed 0, failed: the loss is"
    ):
        trained([planned(spec, ["train.optimizer={sgd: 1e30}"])], tmp_path)


def test_what_cannot_be_planned_is_told_before_anything_is_trained() -> None:
    spec = experiment_of(SPEC)
    with pytest.raises(SpecError, match=r"there is no `vars\.wdth` to override"):
        planned(spec, ["vars.wdth=3"])
    with pytest.raises(SpecError, match="an ensemble is several networks"):
        planned(spec, ["++train.ensemble={members: 3}"])


def test_a_metric_that_no_training_reports_is_told(tmp_path: Path) -> None:
    one = trained([planned(experiment_of(SPEC), [])], tmp_path)[0]
    with pytest.raises(RunError, match="reports no test/f1"):
        one.values("test/f1")


def test_a_key_may_get_the_seeds_too() -> None:
    found = planned(experiment_of(SPEC), [], 3, "data.synthetic.seed").experiments
    assert [one.written.at("data", "synthetic", "seed").value for one in found] == [0, 1, 2]  # type: ignore[union-attr]
