"""Several networks with an objective of another package: what is said of one of them."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

import pytest
from helpers import experiment_of
from test_spec_page import printed

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.objectives import OBJECTIVES, Call, Objective, Phase
from dlx.training.prepared import ready

pytest.importorskip("dlx_example_kinds")

SPEC = """\
data: {synthetic: {shape: [6], target: [1], train: 64, valid: 16, test: 16}}
objective: {adversaries: {critic_steps: 3}}
networks:
  generator: {inputs: {noise: [4]}, layers: [linear: 6]}
  critic: {inputs: {image: [6]}, layers: [linear: 1]}
train:
  epochs: 6
  batch_size: 4
  optimizer: {generator: {adam: 1e-3}, critic: {adam: 1e-2}}
  schedule: {critic: cosine}
track: {mlflow: false}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What a command prints of a spec, and its exit status."""
    monkeypatch.chdir(tmp_path)

    def run_command(command, *more, text=SPEC):
        (tmp_path / "s.yaml").write_text(text)
        return printed(shlex.join(["dlx", command, "s.yaml", *more]))

    return run_command


def refused(text):
    """The one mistake of a spec that cannot be trained."""
    with pytest.raises(SpecError) as error:
        ready(experiment_of(text))
    (problem,) = error.value.problems
    return problem


def test_a_schedule_that_follows_a_metric_is_checked_by_network():
    problem = refused(SPEC.replace("{critic: cosine}", "{critic: {plateau: {metric: valid/nothing}}}"))
    assert problem.message == "`schedule.critic` follows valid/nothing, which is not measured"
    assert (problem.path, problem.mark.line) == ("train.schedule.critic", 10)


def test_without_an_objective_it_says_what_is_missing_and_what_else_is(run):
    text = SPEC.replace("objective: {adversaries: {critic_steps: 3}}\n", "")
    output, status = run("train", text=text)
    assert output.splitlines()[:2] == [
        "s.yaml:2:1  objective",
        "  there is no `objective` to train the networks `generator`, `critic` with",
    ]
    assert status == 2
    output, _ = run("train", text=text.partition("train:\n")[0])
    assert "there is no `train` to train with" in output
    assert "there is no `objective`" in output


def test_why_and_diff_of_several_networks_imply_no_objective(run):
    text = SPEC.replace("objective: {adversaries: {critic_steps: 3}}\n", "")
    output, status = run("why", "objective", text=text)
    assert status == 2
    assert "the spec has no `objective`" in output
    output, _ = run("diff", "s.yaml", "train.epochs=7", text=text)
    assert output.splitlines()[-1] == "train.epochs: 6 -> 7"


def test_groups_take_names_with_the_network_before_them():
    group = "  groups: [{{match: {}, lr: 0.1}}]\ntrack:"
    assert len(ready(experiment_of(SPEC.replace("track:", group.format("critic/linear_1"))))) == 2
    problem = refused(SPEC.replace("track:", group.format("linear_1")))
    assert "`groups` matches no weight: `linear_1`" in problem.message


class Small(Objective):
    """The mean square of what the network `only` gives."""

    kind: ClassVar[str] = "small"

    def phases(self) -> Any:
        return (Phase("shrink", ("only",), ("input",)),)

    def needs(self, fields: Any, networks: Any) -> Any:
        return (Call("only", {"x": "input"}),)

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        return {"square": call("only", batch["input"]).square().mean()}


del OBJECTIVES._classes["small"]


def test_a_single_network_under_its_own_name_is_named_in_full_too(tmp_path, monkeypatch):
    monkeypatch.setitem(OBJECTIVES._classes, "small", Small)
    text = """
        data: {synthetic: {shape: [6], target: [1], train: 64, test: 16}}
        networks: {only: {inputs: {x: [6]}, layers: [linear: 1]}}
        objective: small
        train: {steps: 1, optimizer: {only: {sgd: 0.1}}, groups: [{match: only/linear_1, lr: 0}]}
        track: {mlflow: false}
    """
    longer = text.replace("steps: 1", "steps: 9")
    still = [runner.run(experiment_of(each), tmp_path).metrics for each in (text, longer)]
    assert still[0]["test/shrink/loss"] == still[1]["test/shrink/loss"]
    moved = runner.run(experiment_of(text.replace("lr: 0}", "lr: 0.1}")), tmp_path).metrics
    assert moved["test/shrink/loss"] < still[0]["test/shrink/loss"]
