"""Runs that are trained side by side are runs like others: resumed, reproduced and trained again to the same bits."""

import json
from pathlib import Path

import pytest
from test_resume import Killed

from dlx import experiment
from dlx.errors import RunError
from dlx.reproduce import reproduce
from dlx.runs import Run, all_runs
from dlx.spec import load

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


def weights(run: Run) -> str:
    return json.loads((run.dir / "checkpoints" / "final.json").read_text())["sha256"]


def test_seeds_are_packed_and_say_so(spec, tmp_path):
    found = experiment.run(load(spec), tmp_path / "runs")

    locks = [r.run.read_json("lock.json") for r in found.results]
    assert [lock["way"] for lock in locks] == [{"step": "packed", "because": "3 of one shape"}] * 3
    assert [lock["seed"] for lock in locks] == [5, 6, 7]
    assert [r.steps for r in found.results] == [36] * 3


def test_a_run_of_a_pack_is_trained_again_and_reproduced_to_the_same_bits(spec, tmp_path):
    one = experiment.run(load(spec), tmp_path / "runs").results[1].run
    again = experiment.run(load(one.dir / "spec.yaml"), tmp_path / "again", like=one).results[0].run

    assert weights(again) == weights(one)
    assert reproduce(one, tmp_path / "third").verdict == "bitwise equal"


@pytest.mark.parametrize("event", [4, 40, 70])
def test_a_pack_that_was_killed_goes_on_run_by_run_to_the_same_bits(spec, tmp_path, event):
    expected = experiment.run(load(spec), tmp_path / "whole")
    heard = []

    def listen(told):
        heard.append(told)
        if len(heard) == event:
            raise Killed

    with pytest.raises(Killed):
        experiment.run(load(spec), tmp_path / "cut", listen)
    for run in all_runs(tmp_path / "cut"):  # a kill leaves no end record
        records = run.dir / "metrics.jsonl"
        records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
        (run.dir / "lock.json").write_text(json.dumps(run.read_json("lock.json") | {"pid": 2**22 + 1}))
    ended = {run.read_json("lock.json")["seed"]: run for run in all_runs(tmp_path / "cut")}
    for run in ended.values():
        experiment.resume(run)

    assert [weights(ended[r.seed]) for r in expected.results] == [weights(r.run) for r in expected.results]


def test_what_ends_one_leaves_the_others_their_results(spec, tmp_path):
    with pytest.raises(RunError):
        experiment.run(load(spec, ["train.optimizer.sgd=1e30"]), tmp_path / "runs")

    assert {run.end()["status"] for run in all_runs(tmp_path / "runs")} == {"failed"}


def test_trace_false_trains_one_after_the_other(spec, tmp_path):
    found = experiment.run(load(spec, ["+train.trace=false"]), tmp_path / "runs")

    assert {r.run.read_json("lock.json")["way"]["step"] for r in found.results} == {"plain"}
