"""The step of each phase is replayed where that is quicker, gives the same bits, and says what was chosen."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import pytest
import torch
from helpers import experiment_of
from torch.nn import functional as F

from dlx.experiment import runner, session
from dlx.objectives import OBJECTIVES, Call, Objective, Phase
from dlx.shapes import Shape
from dlx.spec import load
from dlx.training import device
from dlx.training.fit import Job, fit
from dlx.training.prepared import prepare
from dlx.training.replay import traced

G, D = ("generator",), ("discriminator",)


class Game(Objective):
    """Adversaries, with a penalty on the slope of the discriminator between real and made examples."""

    kind: ClassVar[str] = "game"
    penalty: float = 0.0
    times: int = 1
    every: int = 1
    how: str = ""
    """What one of the objectives below does that others do not."""

    def phases(self) -> Any:
        return (
            Phase("discriminator", D, times=self.times),
            Phase("generator", G, (), every=self.every),
        )

    def needs(self, fields: Any, networks: Any) -> Any:
        return (Call("generator", {"noise": Shape((3,))}), Call("discriminator", {"point": "input"}))

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        if phase == "generator":
            return {"fooled": F.softplus(-call("discriminator", call("generator", self.noise(8, rng)))).mean()}
        real = batch["input"]
        if self.how == "carries":
            batch.carry("seen", real)
        if self.how == "reads" and real.sum().item() > 1e9:
            return {}
        with torch.no_grad():
            made = call("generator", self.noise(len(batch), rng))
        found = {
            "real": F.softplus(-call("discriminator", real)).mean(),
            "made": F.softplus(call("discriminator", made)).mean(),
        }
        if self.penalty and torch.is_grad_enabled():  # an evaluation has no slopes
            share = torch.rand(len(batch), 1, generator=rng)
            between = (share * real + (1 - share) * made).requires_grad_()
            (slope,) = torch.autograd.grad(call("discriminator", between).sum(), between, create_graph=True)
            found["penalty"] = self.penalty * (slope.norm(dim=1) - 1).square().mean()
        return found

    def noise(self, count: int, rng: Any) -> Any:
        return torch.randn(count, 3, generator=rng)


class Keeping(Game):
    """The same, with what it keeps from step to step."""

    kind: ClassVar[str] = "keeping"

    def state(self) -> Any:
        return {"pool": None}


class Latent(Objective):
    """An encoder and a decoder in one phase, with a reparameterised draw between them."""

    kind: ClassVar[str] = "latent"

    def phases(self) -> Any:
        return (Phase("elbo", ("encoder", "decoder")),)

    def needs(self, fields: Any, networks: Any) -> Any:
        return (Call("encoder", {"point": "input"}), Call("decoder", {"z": Shape((2,))}))

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        mean, log = call("encoder", batch["input"]).chunk(2, 1)
        z = mean + (0.5 * log).exp() * torch.randn(mean.shape, generator=rng)
        kl = 0.5 * (mean.square() + log.exp() - 1 - log).sum(1).mean()
        return {"error": (call("decoder", z) - batch["input"]).square().sum(1).mean(), "kl": kl}


for one in (Game, Keeping, Latent):
    del OBJECTIVES._classes[one.kind]

GAME = """
name: game
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  generator: {inputs: {noise: [3]}, layers: [linear: 6, batch_norm, relu, linear: 2]}
  discriminator: {inputs: {point: [2]}, layers: [linear: 6, {leaky_relu: 0.2}, {dropout: 0.2}, linear: 1]}
objective: {OBJECTIVE}
train: {steps: 60, batch_size: 16, log_every: 7, optimizer: {adam: 1e-2}, MORE}
track: {mlflow: false}
"""
LATENT = """
name: latent
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  encoder: {inputs: {point: [2]}, layers: [linear: 6, tanh, linear: 4]}
  decoder: {inputs: {z: [2]}, layers: [linear: 6, tanh, linear: 2]}
objective: {latent: {}}
train: {steps: 60, batch_size: 16, optimizer: {adam: 1e-2}, MORE}
track: {mlflow: false}
"""


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    for one in (Game, Keeping, Latent):
        monkeypatch.setitem(OBJECTIVES._classes, one.kind, one)
    with device.threads(1):
        yield


def text_of(text: str, more: str, objective: str) -> str:
    return text.replace("OBJECTIVE", objective).replace(", MORE", f", {more}" if more else "")


def trained(more: str, objective: str = "game: {}", text: str = GAME) -> tuple[Job, list[dict[str, float]]]:
    """A training that has ended, and all that it told on the way."""
    job = session.job_of(prepare(experiment_of(text_of(text, more, objective))))
    return job, [record.metrics for record in fit(job) if record.record != "safe_point"]


def bits(job: Job) -> str:
    whole = hashlib.sha256()
    for value in (*job.network.state_dict().values(), job.learner.state()["objective"]):
        whole.update(value.numpy().tobytes())
    return whole.hexdigest()


def same_both_ways(more: str = "", **rest: str) -> dict[str, str]:
    """Trained with and without the replay: the same bits, and every figure. What the one with says of its step."""
    (plain, wanted), (replayed, found) = (
        trained(f"{more}{', ' if more else ''}trace: {way}", **rest) for way in ("false", "true")
    )
    assert plain.learner.way == {"step": "plain", "because": "the spec says so"}
    assert found == wanted
    assert bits(plain) == bits(replayed)
    return replayed.learner.way


@pytest.mark.parametrize(
    "objective",
    [
        "game: {}",
        "game: {times: 3}",  # batches of 60 examples end within a step
        "game: {every: 2}",
        "game: {penalty: 10}",  # the gradient of a gradient
        "game: {penalty: 1, times: 2, every: 3}",
    ],
)
def test_the_phases_of_a_game_are_replayed_to_the_same_bits(objective):
    text = GAME.replace("steps: 60", "steps: 300") if "every" in objective else GAME
    assert same_both_ways(objective=objective, text=text)["step"] == "replayed"


@pytest.mark.parametrize(
    "more",
    [
        "batch_size: 6, accumulate: 2",
        "clip_norm: 0.1",
        "schedule: cosine, average: {generator: {ema: 0.9}}",
        "evaluate_every: 7",
        "drop_last: true",
    ],
)
def test_with_what_else_a_step_does(more):
    text = GAME.replace("batch_size: 16, ", "") if "batch_size" in more else GAME
    assert same_both_ways(more, text=text)["step"] == "replayed"


def test_an_encoder_and_a_decoder_are_one_replayed_phase():
    found = same_both_ways(text=LATENT)
    assert found["step"] == "replayed"
    assert found["because"].endswith("of the time of a plain one")


def test_each_phase_has_a_choice_of_its_own(monkeypatch):
    monkeypatch.setattr(traced, "MAX_BYTES", 5_000)  # the phase that looks at no real example keeps less than this
    found = same_both_ways()
    assert found["step"] == "partly replayed"
    discriminator, generator = found["because"].split("; ")
    assert discriminator == "discriminator: replayed it would keep 0 MiB"
    assert generator.startswith("generator: ")
    assert generator.endswith("of the time of a plain one")


@pytest.mark.parametrize(
    ("objective", "because"),
    [
        ("game: {how: carries}", "it passes values on to the next batch"),
        ("game: {how: reads}", "what it does depends on the values of tensors (_local_scalar_dense)"),
    ],
)
def test_a_phase_that_is_not_the_same_each_time_goes_on_as_before(objective, because):
    found = same_both_ways(objective=objective)
    assert found["step"] == "partly replayed"
    assert found["because"].startswith(f"discriminator: {because}; generator: ")


def test_an_objective_that_keeps_a_state_goes_on_as_before():
    found = same_both_ways(objective="keeping: {}")
    assert found == {"step": "plain", "because": "`keeping` keeps a state from step to step"}


def test_terms_that_change_from_step_to_step_are_found_out(monkeypatch):
    monkeypatch.setattr(Latent, "terms", lambda *args, terms=Latent.terms: _scaled(terms(*args)))
    job, _ = trained("trace: true", text=LATENT)
    assert job.learner.way == {"step": "plain", "because": "replayed it gave other figures"}


SCALES = iter(range(10_000))


def _scaled(terms: dict[str, Any]) -> dict[str, Any]:
    return {name: value * next(SCALES) for name, value in terms.items()}


def test_a_step_that_leaves_other_bits_is_not_taken(monkeypatch):
    """The broken twin of the comparison: a replay that forgets the last term."""
    from dlx.training.replay import flat_step

    def forgetful(*args):
        flat = whole(*args)

        def other(*inputs):
            first, _, *rest = flat(*inputs)
            return (first, first, *rest)

        return other

    whole = flat_step.flatten
    monkeypatch.setattr(flat_step, "flatten", forgetful)
    assert same_both_ways(text=LATENT) == {"step": "plain", "because": "replayed it gave other figures"}


def test_a_run_says_what_was_chosen_of_each_phase(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text("dlx: 1\n" + text_of(GAME, "trace: true", "game: {}"))
    one, short = (runner.run(load(spec, more), tmp_path).results[0] for more in ([], ["train.steps=3"]))
    assert one.run.read_json("lock.json")["way"]["step"] == "replayed"
    assert not one.notes
    assert short.notes == ("the steps were taken under autograd: the training is too short to tell",)
