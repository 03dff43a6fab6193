"""Parameters and state of an objective with phases: counted, moved, frozen, saved, and restored to the same bits."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import Any, ClassVar

import pydantic
import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file

from dlx.errors import SpecError
from dlx.experiment import runner, session
from dlx.graph import expect, trace_all
from dlx.graph import initial_weights as initial_weights_of
from dlx.objectives import OBJECTIVES, Call, Objective, Phase
from dlx.objectives.learned import parameters_of
from dlx.training import initial_weights
from dlx.training.checkpoints import training_state
from dlx.training.fit import Job, fit
from dlx.training.prepared import prepare

NAMED = ("first", "second")


class Scaled(Objective):
    """Each of two networks learns ones, in a phase of its own; the objective learns a scale and two shifts of both.

    What the first network gave in a step is kept, and in the next one it is drawn to its mean too.
    """

    kind: ClassVar[str] = "scaled"
    moved_by: str = ""
    alone: bool = False
    _kept: list[Any] = pydantic.PrivateAttr(default_factory=list)

    def networks(self) -> tuple[str, ...]:
        return ("network",) if self.alone else NAMED

    def phases(self) -> Any:
        more = {name: ("objective",) if name == self.moved_by else () for name in self.networks()}
        return tuple(Phase(name, (name, *more[name])) for name in self.networks())

    def parameters(self) -> Any:
        return {"scale": 2.0, "shift": [0.5, -0.5]}

    def state(self) -> Any:
        return {"kept": list(self._kept)}

    def load(self, state: Any) -> None:
        self._kept = list(state["kept"])

    def needs(self, fields: Any, networks: Any) -> Any:
        return tuple(Call(name, dict.fromkeys(networks[name].inputs, "input")) for name in self.networks())

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        outputs = call(phase, batch["input"]) * call.parameters["scale"] + call.parameters["shift"]
        found = {"error": (outputs - 1).square().mean()}
        if phase == self.networks()[0]:
            old = self._kept[-1] if self._kept else torch.zeros(2)
            found["drift"] = 0.1 * (outputs.mean(0) - old).square().sum()
            self._kept = [*self._kept[-2:], outputs.detach().mean(0)]
        return found


del OBJECTIVES._classes["scaled"]

TEXT = """
    data: {moons: {train: 60, valid: 8, test: 8}}
    networks:
      first: {inputs: {point: [2]}, layers: [linear: 2]}
      second: {inputs: {point: [2]}, layers: [linear: 2]}
    objective: {scaled: {}}
    train: {steps: 12, batch_size: 10, log_every: 1, optimizer: {sgd: 0.05}}
    track: {mlflow: false}
"""
ONE = TEXT.replace("{scaled: {}}", "{scaled: {alone: true}}").replace(
    """networks:
      first: {inputs: {point: [2]}, layers: [linear: 2]}
      second: {inputs: {point: [2]}, layers: [linear: 2]}""",
    "network: {layers: [linear: 2]}",
)
OWN = {"first": "{sgd: 0.05}", "second": "{sgd: 0.05}", "objective": "{sgd: 0.5}"}


@pytest.fixture(autouse=True)
def scaled(monkeypatch):
    monkeypatch.setitem(OBJECTIVES._classes, "scaled", Scaled)


def job_of(text: str) -> Job:
    return session.job_of(prepare(experiment_of(text)))


def learned(job: Job) -> list[float]:
    return [float(value) for one in parameters_of(job.network).values() for value in one.detach().reshape(-1)]


def trained(text: str) -> Job:
    job = job_of(text)
    list(fit(job))
    return job


def with_optimizer(text: str, said: str) -> str:
    return text.replace("optimizer: {sgd: 0.05}", f"optimizer: {said}")


# --- counted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "weights"), [(TEXT, 12), (ONE, 6)])
def test_they_are_counted_and_named_in_the_document(text, weights):
    graphs = trace_all(experiment_of(text))
    assert (graphs.params, graphs.trainable) == (weights + 3, weights + 3)
    assert graphs.as_json()["of_objective"] == ["objective/scale", "objective/shift"]
    frozen = trace_all(experiment_of(f"{text}    freeze: [objective/shift]\n"))
    assert (frozen.params, frozen.trainable) == (weights + 3, weights + 1)


@pytest.mark.parametrize(("text", "weights"), [(TEXT, 12), (ONE, 6)])
def test_a_claim_on_all_parameters_counts_them(text, weights):
    for claim, count in ((f"params: {weights + 3}, trainable: {weights + 3}", 0), (f"params: {weights}", 1)):
        experiment = experiment_of(f"{text}    expect: {{{claim}}}\n")
        assert len(expect.unmet(experiment, trace_all(experiment))) == count


# --- moved ----------------------------------------------------------------------------------------------------------


def by_hand(rates: dict[str, float], *, moved_in: tuple[str, ...], steps: int = 12) -> list[float]:
    """The parameters after the training of TEXT by gradient descent, written as a loop."""
    job = job_of(TEXT)
    first, second = (job.learner.networks[name] for name in NAMED)
    scale, shift = torch.tensor(2.0, requires_grad=True), torch.tensor([0.5, -0.5], requires_grad=True)
    order = [each for epoch in _orders(2) for each in epoch]
    old = torch.zeros(2)
    for step in range(steps):
        x = job.parts["train"].x[order[step]]
        for name, network in (("first", first), ("second", second)):
            outputs = network(x) * scale + shift
            loss = (outputs - 1).square().mean()
            if name == "first":
                loss = loss + 0.1 * (outputs.mean(0) - old).square().sum()
                old = outputs.detach().mean(0)
            weights = [*network.parameters(), *([scale, shift] if name in moved_in else [])]
            for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                own = any(weight is one for one in (scale, shift))
                with torch.no_grad():
                    weight.sub_(rates["objective" if own else name] * grad)
    return [scale.item(), *shift.tolist()]


def _orders(epochs: int) -> list[Any]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randperm(60, generator=rng).split(10) for _ in range(epochs)]


SAME = {"first": 0.05, "second": 0.05, "objective": 0.05}
MOVES = {
    "with the first network": ("{sgd: 0.05}", "{}", SAME, ("first",)),
    "by an optimizer of its own": (
        "{first: {sgd: 0.05}, second: {sgd: 0.05}, objective: {sgd: 0.5}}",
        "{}",
        {**SAME, "objective": 0.5},
        ("first",),
    ),
    "in the phase that names it": ("{sgd: 0.05}", "{moved_by: second}", SAME, ("second",)),
}


@pytest.mark.parametrize("case", MOVES)
def test_they_move_as_in_a_loop_by_hand(case):
    optimizer, said, rates, moved_in = MOVES[case]
    text = with_optimizer(TEXT.replace("{scaled: {}}", f"{{scaled: {said}}}"), optimizer)
    assert learned(trained(text)) == pytest.approx(by_hand(rates, moved_in=moved_in), rel=1e-4)
    others = [one for one in ((), ("first",), ("second",)) if one != moved_in]
    for other in others:  # so that the loop tells one way from another
        assert learned(trained(text)) != pytest.approx(by_hand(rates, moved_in=other), rel=1e-3)


def test_one_network_moves_them_with_its_weights_or_by_an_optimizer_of_their_own():
    common = learned(trained(ONE))
    named = learned(trained(with_optimizer(ONE, "{network: {sgd: 0.05}}")))
    assert named == common
    still = learned(trained(with_optimizer(ONE, "{network: {sgd: 0.05}, objective: {sgd: 1e-12}}")))
    assert still == [2.0, 0.5, -0.5]
    assert all(abs(a - b) > 0.01 for a, b in zip(common, still, strict=True))


def test_the_rate_of_their_optimizer_is_in_the_curve():
    job = job_of(with_optimizer(ONE, "{network: {sgd: 0.05}, objective: {sgd: 0.5}}"))
    (point, *_) = [record for record in fit(job) if record.record == "step"]
    assert {name: value for name, value in point.metrics.items() if name.startswith("lr")} == {
        "lr/network": 0.05,
        "lr/objective": 0.5,
    }


@pytest.mark.parametrize("text", [TEXT, ONE])
def test_they_are_frozen_by_name_for_good_or_for_a_while(text):
    assert learned(trained(f"{text}    freeze: [objective/shift]\n"))[1:] == [0.5, -0.5]
    until = f"{text}    freeze: [{{match: objective/scale, until: {{step: 11}}}}]\n"
    assert learned(trained(until.replace("steps: 12", "steps: 11")))[0] == 2.0
    assert learned(trained(until))[0] != 2.0


@pytest.mark.parametrize("text", [TEXT, ONE])
def test_groups_and_averages_are_theirs_too(text):
    lr = text.replace("optimizer: {sgd: 0.05}", "optimizer: {sgd: 0.05}, groups: [{match: objective/shift, lr: 0}]")
    assert learned(trained(lr))[1:] == [0.5, -0.5]
    assert learned(trained(lr))[0] != 2.0
    slow = text.replace("optimizer: {sgd: 0.05}", "optimizer: {sgd: 0.05}, average: {ema: 0.99}")
    assert abs(learned(trained(slow))[0] - 2) < abs(learned(trained(text))[0] - 2)


# --- saved ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, ONE])
def test_a_training_goes_on_with_what_its_steps_kept_and_its_parameters(text, tmp_path):
    whole = trained(text)
    halted = job_of(text)
    halted.progress.until = 5
    list(fit(halted))
    training_state.snapshot(halted, {"step": 5}, {}).write(tmp_path)
    resumed = job_of(text)
    training_state.restore(resumed, tmp_path)
    assert [one.tolist() for one in resumed.learner.objective.state()["kept"]] == [
        one.tolist() for one in halted.learner.objective.state()["kept"]
    ]
    list(fit(resumed))
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, resumed.network.state_dict()[name]), name
    forgetful = job_of(text)
    training_state.restore(forgetful, tmp_path)
    forgetful.learner.objective.load({"kept": []})
    list(fit(forgetful))
    assert not torch.equal(*(next(iter(job.network.parameters())) for job in (forgetful, whole))), (
        "what is kept changes nothing, and the test sees nothing"
    )


def test_an_evaluation_changes_nothing_of_what_steps_keep():
    often = trained(TEXT.replace("log_every: 1", "log_every: 1, evaluate_every: 1"))
    seldom = trained(TEXT.replace("log_every: 1", "log_every: 1, evaluate_every: 12"))
    assert learned(often) == learned(seldom)


def test_seeds_one_after_the_other_begin_with_nothing_kept(tmp_path):
    two = runner.run(experiment_of(TEXT.replace("steps: 12", "steps: 12, seeds: 2")), tmp_path / "two")
    alone = runner.run(experiment_of(TEXT.replace("steps: 12", "steps: 12, seed: 1")), tmp_path / "one")
    assert two.results[1].metrics == alone.metrics


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_node_cannot_have_their_name():
    named = ONE.replace("[linear: 2]", "[{linear: 2, name: objective}]")
    with pytest.raises(SpecError) as refused:
        trace_all(experiment_of(named))
    (problem,) = refused.value.problems
    assert problem.message == "`objective` holds the parameters that the objective learns, and a node is called that"


# --- side by side ---------------------------------------------------------------------------------------------------


class Stateless(Scaled):
    """The same without what is kept, so that several trainings may be packed."""

    kind: ClassVar[str] = "stateless"
    state = Objective.state

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        outputs = call(phase, batch["input"]) * call.parameters["scale"] + call.parameters["shift"]
        return {"error": (outputs - 1).square().mean()}


del OBJECTIVES._classes["stateless"]


@pytest.mark.parametrize(
    "text", [TEXT, with_optimizer(TEXT, f"{{{', '.join(f'{k}: {v}' for k, v in OWN.items())}}}")]
)
def test_packed_seeds_have_the_parameters_of_the_same_seed_alone(text, tmp_path, monkeypatch):
    monkeypatch.setitem(OBJECTIVES._classes, "scaled", Stateless)
    two = runner.run(experiment_of(text.replace("steps: 12", "steps: 12, seeds: 2")), tmp_path / "two").results[1]
    alone = runner.run(experiment_of(text.replace("steps: 12", "steps: 12, seed: 1")), tmp_path / "one").results[0]
    assert two.run.lock()["packed"]
    ends = [load_file(one.run.dir / "checkpoints" / "final.safetensors") for one in (two, alone)]
    names = {"objective.scale", "objective.shift"}
    assert names < ends[0].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in names)
    assert ends[0]["objective.scale"] != 2


# --- from elsewhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, ONE])
def test_weights_of_a_run_bring_them_along(text, tmp_path):
    (result,) = runner.run(experiment_of(f"name: first\n{dedent(text)}"), tmp_path / "runs").results
    saved = load_file(result.run.dir / "checkpoints/final.safetensors")
    taken, left = (
        started(f"{dedent(text)}weights: {{from: {result.run.dir}{more}}}\n") for more in ("", ", skip: [objective]")
    )
    expected = [float(value) for name in ("scale", "shift") for value in saved[f"objective.{name}"].reshape(-1)]
    assert learned(taken) == expected
    assert learned(left) == [2.0, 0.5, -0.5]


def started(text: str) -> Job:
    prepared = prepare(experiment_of(text))
    return session.job_of(prepared, initial=[initial_weights.load(prepared.experiment, prepared.graphs)])


@pytest.mark.parametrize("text", [TEXT, ONE])
def test_they_go_on_from_stage_to_stage_where_the_objective_does(text, tmp_path):
    stages = "stages: [{name: one, train: {steps: 12}}, {name: two, train: {steps: 1, optimizer: {sgd: 1e-30}}}]\n"
    (result,) = runner.run(experiment_of(dedent(text) + stages), tmp_path / "runs").results
    first, last = (
        load_file(result.run.dir / "checkpoints" / name)["objective.scale"]
        for name in ("one/final.safetensors", "final.safetensors")
    )
    assert first != 2.0
    assert first == last


def test_those_of_another_objective_begin_anew():
    one = trace_all(experiment_of(TEXT))
    both, other = (
        initial_weights_of.carried(replace(one, objective=kind), one, ("a", "b")) for kind in ("scaled", "x")
    )
    assert "objective.scale" in both.sources
    assert "objective.scale" not in other.sources
    assert other.initialized == ["objective.scale", "objective.shift"]
