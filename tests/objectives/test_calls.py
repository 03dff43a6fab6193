"""What `inspect` says that each phase calls is what its steps call, for every objective with phases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from helpers import SHIPPED, experiment_of

from dlx.experiment import session
from dlx.graph import trace_all
from dlx.objectives import OBJECTIVES, Call, Supervised
from dlx.objectives.cycle import Cycle
from dlx.spec import load
from dlx.training.phased import Phased
from dlx.training.prepared import prepare

DIGITS = "data: {digits: {train: 60, valid: 0, test: 0}}\ntrain: {steps: 1, batch_size: 10}\ntrack: {mlflow: false}\n"
POINTS = DIGITS.replace("digits: {train: 60, valid: 0, test: 0}", "moons: {train: 60, test: 8}")
ENCODER = "encoder: {layers: [flatten, {linear: 8}]}"
DECODER = "decoder: {inputs: {z: [4]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}"
SCORE = "discriminator: {inputs: {point: [2]}, layers: [{linear: 4}, tanh, {linear: 1}]}"
ADVERSARIES = f"networks: {{generator: {{inputs: {{noise: [2]}}, layers: [linear: 2]}}, {SCORE}}}\n"
SIDES = """
data: {unpaired: {train: 64, valid: 20, test: 20, size: 4}}
networks:
  generator_ab: {inputs: {picture: [3, 4, 4]}, layers: [{conv: {out_channels: 3, kernel_size: 1}}]}
  generator_ba: {copy: generator_ab}
  discriminator_a: {inputs: {picture: [3, 4, 4]}, layers: [flatten, {linear: 1}]}
  discriminator_b: {copy: discriminator_a}
train: {steps: 1, batch_size: 10}
"""
PICTURES = (
    "data: {synthetic: {shape: [1, 4, 4], classes: 3, train: 40, valid: 8}}\ntrain: {steps: 1, batch_size: 10}\n"
)
TAUGHT = "networks: {teacher: {layers: [linear: 2]}, student: {layers: [linear: 2]}}\nfreeze: [teacher]\n"
SPECS = {
    "autoencoder": f"{DIGITS}network: {{layers: [flatten, {{linear: 64}}, {{reshape: [1, 8, 8]}}]}}\n",
    "autoencoder: {contractive: 0.1}": f"{DIGITS}networks: {{{ENCODER}, {DECODER.replace('4', '8', 1)}}}\n",
    "vae": f"{DIGITS}networks: {{{ENCODER}, {DECODER}}}\n",
    "vae: {samples: 3}": f"{DIGITS}networks: {{{ENCODER}, {DECODER}}}\n",
    "ppca": f"{DIGITS}networks: {{{DECODER}}}\n",
    "gan": POINTS + ADVERSARIES,
    "gan: {loss: wasserstein, gradient_penalty: 10, discriminator_steps: 2}": POINTS + ADVERSARIES,
    "cycle": SIDES,
    "cycle: {cycle: 0, identity: 0}": SIDES,
    "rotation": f"{PICTURES}network: {{layers: [flatten, {{linear: 4}}]}}\n",
    "jigsaw: {permutations: 6}": f"{PICTURES}network: {{layers: [flatten, {{linear: 6}}]}}\n",
    "simclr": f"{PICTURES}network: {{layers: [flatten, {{linear: 6}}]}}\n".replace(
        "10}", "10, augment: [{gaussian_noise: 0.1}]}"
    ),
    "distillation": POINTS + TAUGHT,
    "pseudo_label": DIGITS.replace("valid: 0", "labelled: 12, valid: 0")
    + TAUGHT.replace("[linear: 2]", "[flatten, {linear: 10}]"),
}
SHIPPED_ONES = {
    "autoregressive": "made",
    "flow": "flow",
    "diffusion": "diffusion",
    "masked_language": "masked-months",
    "relative_position": "relative-position",
    "colourisation": "colourisation",
    "inpainting": "context-encoder",
}
ROWS = {"ppca"}
"""Objectives that call a network on rows of their own, however many examples there are."""


def experiment(spec: str) -> Any:
    if spec in SHIPPED_ONES:
        return load(SHIPPED[f"zoo/{SHIPPED_ONES[spec]}"])
    options = f"{{{spec}}}" if ":" in spec else spec
    return experiment_of(f"{SPECS[spec]}objective: {options}\n")


class Spy:
    """Calls networks, and notes which, on how many samples, and whether a gradient passes."""

    def __init__(self, call: Any) -> None:
        self.call, self.parameters = call, call.parameters
        self.calls = call.calls
        self.noted: Counter[tuple[str, bool, int]] = Counter()

    def __call__(self, network: str, /, *inputs: Any, **named: Any) -> Any:
        count = len(next(iter((*inputs, *named.values()))))
        self.noted[network, torch.is_grad_enabled(), count] += 1
        return self.call(network, *inputs, **named)


def made_by_a_step(one: Any) -> dict[str, Counter[tuple[str, bool, int]]]:
    """The calls of each phase of a step."""
    learner = session.job_of(prepare(one)).learner
    assert isinstance(learner, Phased)
    learner.call = spy = Spy(learner.call)  # type: ignore[assignment]
    learner.build_phases()
    found = {}
    for number, batch in learner.repetitions(learner.feed.next):
        spy.noted = Counter()
        learner.gradients[number](batch)  # type: ignore[arg-type]
        found[learner.phases[number].name] = spy.noted
    return found


def said(one: Any, batch: int) -> dict[str, Counter[tuple[str, bool, int]]]:
    return {
        plan.name: Counter((call.network, call.gradient, call.times * batch) for call in plan.calls)
        for plan in trace_all(one).phases
    }


def batch_of(one: Any) -> int:
    size = one.train.batch_size
    assert isinstance(size, int)
    return size


@pytest.mark.parametrize("spec", [*SPECS, *SHIPPED_ONES])
def test_a_step_calls_what_is_said_of_its_phases(spec):
    one = experiment(spec)
    made, told = made_by_a_step(one), said(one, batch_of(one))
    if spec in ROWS:
        made = {
            name: Counter((network, passes, batch_of(one)) for network, passes, _ in each)
            for name, each in made.items()
        }
    assert made == told


def test_calls_that_name_no_phase_are_told_from_what_a_step_does(monkeypatch):
    monkeypatch.setattr(Cycle, "needs", in_every_phase(Cycle.needs))
    one = experiment("cycle")
    assert made_by_a_step(one) != said(one, 10)


def in_every_phase(needs: Any) -> Any:
    return lambda *args: [Call(call.network, call.inputs) for call in needs(*args)]


def test_every_objective_with_phases_is_among_them():
    kinds = {name for name in OBJECTIVES if not issubclass(OBJECTIVES[name], Supervised) and is_own(OBJECTIVES[name])}
    assert kinds == {spec.partition(":")[0] for spec in (*SPECS, *SHIPPED_ONES)}


def is_own(kind: type) -> bool:
    return kind.__module__.startswith("dlx.")


def test_a_term_without_weight_is_measured_and_in_no_phase():
    one = experiment("cycle: {cycle: 0, identity: 0}")
    calls: Mapping[str, int] = Counter(call.network for plan in trace_all(one).phases for call in plan.calls)
    assert calls == {"generator_ab": 2, "generator_ba": 2, "discriminator_a": 3, "discriminator_b": 3}
