"""Trainings with phases that are packed give what each gives alone."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import packing, runner, session
from dlx.objectives import OBJECTIVES
from dlx.objectives.vae import Vae
from dlx.schedules.values import Weight
from dlx.spec import load
from dlx.training import device
from dlx.training.fit import Job, fit
from dlx.training.packed import many_steps, phased_pack
from dlx.training.packed import pack as packed_module
from dlx.training.packed.together import fit_together
from dlx.training.prepared import Prepared, prepare
from dlx.training.replay import script

GAN = """
name: gan
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  generator: {inputs: {noise: [3]}, layers: [{linear: {out_features: 6, bias: false}}, batch_norm, relu, linear: 2]}
  discriminator: {inputs: {point: [2]}, layers: [linear: 6, {leaky_relu: 0.2}, {dropout: 0.2}, linear: 1]}
objective: {gan: {OBJECTIVE}}
train: {epochs: 6, batch_size: 15, evaluate_every: 7, seed: SEED, optimizer: {adam: {lr: RATE}}}
track: {mlflow: false}
"""
"""No bias before the norm: its gradient is rounding alone, which Adam makes steps of, others on each processor."""
VAE = """
name: vae
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  encoder: {inputs: {point: [2]}, layers: [linear: 6, tanh, linear: 4]}
  decoder: {inputs: {z: [2]}, layers: [linear: 6, tanh, linear: 2]}
objective: {vae: {likelihood: gaussian}}
train: {epochs: 6, batch_size: 15, seed: SEED, optimizer: {adam: {lr: RATE}}}
track: {mlflow: false}
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """On one thread; many steps in one call, as soon as there are two."""
    monkeypatch.setattr(many_steps, "MIN_STEPS", 0)
    with device.threads(1):
        yield


def prepared(text: str, number: int, objective: str = "") -> Prepared:
    rate = 1e-3 * (1 + number)
    named = text.replace("OBJECTIVE", objective).replace("SEED", str(number)).replace("RATE", str(rate))
    return prepare(experiment_of(named))


def jobs(text: str, count: int = 3, **more: str) -> list[Job]:
    """Trainings of different seeds and rates that share the data."""
    made, parts = [], None
    for number in range(count):
        one = prepared(text, number, **more)
        parts = parts or one.parts()
        made.append(session.job_of(one, None, parts))
        made[-1].progress.capture_rng()
    return made


def alone(job: Job) -> list:
    torch.set_rng_state(job.progress.rng.get_state())
    job.progress.rng = None
    return [record for record in fit(job) if record.record != "safe_point"]


def together(several: list[Job], threads: int = 1) -> list[list]:
    found: list[list] = [[] for _ in several]
    for number, event in fit_together(several, threads):
        found[number].append(event)
    return [[e for e in events if getattr(e, "record", "") != "safe_point"] for events in found]


def assert_like_alone(text: str, step: str = "packed", **more: str) -> list[Job]:
    packed, apart = jobs(text, **more), jobs(text, **more)
    began = [{name: value.clone() for name, value in job.network.state_dict().items()} for job in packed]
    for job, other, records, first in zip(packed, apart, together(packed), began, strict=True):
        wanted = alone(other)
        assert [(r.record, r.step, r.epoch) for r in records] == [(r.record, r.step, r.epoch) for r in wanted]
        for one, two in zip(records, wanted, strict=True):
            assert one.metrics == pytest.approx(two.metrics, rel=1e-3, abs=1e-5)
        for name, tensor in job.network.state_dict().items():
            torch.testing.assert_close(tensor, other.network.state_dict()[name], rtol=1e-3, atol=1e-5)
        assert any(not torch.equal(job.network.state_dict()[name], value) for name, value in first.items())
        assert torch.equal(job.learner.state()["objective"], other.learner.state()["objective"])
        assert job.learner.way["step"] == step, job.learner.way
    return packed


@pytest.mark.parametrize(
    "objective",
    [
        "",
        "discriminator_steps: 3",
        "loss: wasserstein, clip: 0.05, discriminator_steps: 2",
        "loss: wasserstein, gradient_penalty: 10",
    ],
)
def test_games_of_different_seeds_and_rates(objective):
    """The twins: each has drawn its own noise, and what one network's row holds is what it holds alone."""
    packed = assert_like_alone(GAN, objective=objective)
    assert packed[0].learner.way["because"] == "3 of one shape"


def test_an_encoder_and_a_decoder():
    assert_like_alone(VAE)


@pytest.mark.parametrize(
    "more", ["clip_norm: 0.1", "schedule: cosine", "accumulate: 2, batch_size: 5", "average: {generator: {ema: 0.9}}"]
)
def test_what_else_a_step_does(more):
    text = GAN.replace("batch_size: 15, ", "") if "batch_size" in more else GAN
    assert_like_alone(text.replace("seed: SEED", f"seed: SEED, {more}"))


class Warmed(Vae):
    """The same with a weight of the divergence that moves."""

    kind: ClassVar[str] = "warmed"
    beta: Weight = 1.0


del OBJECTIVES._classes["warmed"]


def test_values_of_the_objective_that_move(monkeypatch):
    monkeypatch.setitem(OBJECTIVES._classes, "warmed", Warmed)
    moving = VAE.replace("vae: {likelihood", "warmed: {beta: {linear: {start: 0, end: 4}}, likelihood")
    packed = assert_like_alone(moving)
    assert [job.learner.values.tensors["beta"].item() for job in packed] == [pytest.approx(4, abs=0.5)] * 3


def test_a_batch_of_another_size_is_taken_by_each_alone():
    """60 examples in batches of 16: the fourth has 12, and with three batches a step it falls anywhere in it."""
    assert_like_alone(GAN.replace("batch_size: 15", "batch_size: 16"), objective="discriminator_steps: 3")


def test_one_goes_on_alone_to_the_same_bits():
    together(several := jobs(GAN))
    together([one := jobs(GAN)[1]])
    found, wanted = one.network.state_dict(), several[1].network.state_dict()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


@pytest.mark.parametrize(
    ("text", "objective"), [(GAN, ""), (GAN, "loss: wasserstein, clip: 0.05, discriminator_steps: 2"), (VAE, "")]
)
def test_many_steps_in_one_call_leave_the_bits_of_as_many_calls(text, objective, monkeypatch):
    """Draws, dropout, statistics of norms and clipped weights among them."""
    steps: list[int] = []
    step = phased_pack.StackedPhases.step

    def counted(self, taken, live, phases):
        steps.append(len(taken))
        return step(self, taken, live, phases)

    monkeypatch.setattr(phased_pack.StackedPhases, "step", counted)
    at_once, one_by_one = (jobs(text, objective=objective) for _ in range(2))
    records = together(at_once)
    few = len(steps)
    monkeypatch.setattr(many_steps, "MIN_STEPS", 10**9)
    assert together(one_by_one) == records
    assert 3 * few < len(steps) - few
    for job, other in zip(at_once, one_by_one, strict=True):
        assert all(map(torch.equal, job.network.state_dict().values(), other.network.state_dict().values()))
        assert torch.equal(job.learner.state()["objective"], other.learner.state()["objective"])
        assert torch.equal(job.progress.rng.get_state(), other.progress.rng.get_state())
        assert job.learner.faults == []


def test_a_call_that_leaves_out_the_moves_of_the_weights_is_not_taken(monkeypatch):
    def forgetful(self, arguments):
        self.lines = [line for line in self.lines if "_fused_adam_" not in line]
        return original(self, arguments)

    original = script.Script.function
    monkeypatch.setattr(script.Script, "function", forgetful)
    assert_like_alone(GAN)


def test_threads_share_the_jobs_and_give_the_same_bits():
    one, two = jobs(GAN, 5), jobs(GAN, 5)
    assert together(one) == together(two, threads=2)
    for job, other in zip(one, two, strict=True):
        assert all(map(torch.equal, job.network.state_dict().values(), other.network.state_dict().values()))


def test_a_stack_that_forgets_to_hand_over_gradients_is_no_packed_training(monkeypatch):
    """The broken twin: what `assert_like_alone` compares would differ."""
    monkeypatch.setattr(phased_pack.StackedPhase, "hand_over", lambda *_: None)
    with pytest.raises(AssertionError):
        assert_like_alone(GAN)


def test_much_memory_is_not_taken(monkeypatch):
    monkeypatch.setattr(phased_pack, "MAX_BYTES", 3000)
    packed = assert_like_alone(VAE, step="plain")
    assert packed[0].learner.way["because"] == "stacked they would keep more than 0 MiB"


def test_an_operation_that_fails_on_all_rows_is_told_and_each_goes_on_alone(monkeypatch):
    def broken(self):
        raise RuntimeError("a kernel has changed")

    monkeypatch.setattr(phased_pack.StackedPhase, "compute", broken)
    packed = assert_like_alone(VAE, step="plain")
    assert packed[0].learner.faults == [f"{packed_module.fallback.PACK}: RuntimeError: a kernel has changed"]


def test_only_equal_phases_are_packed():
    key = packing.packing_key(prepared(GAN, 0))
    assert key is not None
    assert packing.packing_key(prepared(GAN, 1)) == key
    assert packing.packing_key(prepared(GAN, 0, "discriminator_steps: 2")) != key
    assert packing.packing_key(prepared(GAN.replace("linear: 6", "linear: 7"), 0)) != key
    assert packing.packing_key(prepared(VAE, 0)) != key


def test_seeds_of_a_run_are_packed(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text("dlx: 1\n" + GAN.replace("OBJECTIVE", "").replace("SEED", "0").replace("RATE", "1e-3"))
    whole = runner.run(load(spec, ["train.seeds=3"]), tmp_path / "whole").results
    assert [one.run.lock()["way"]["step"] for one in whole] == ["packed"] * 3
    assert not [note for one in whole for note in one.notes if "one after the other" in note]


def test_an_objective_that_keeps_a_state_says_why_its_trainings_come_one_after_the_other():
    one = prepared(GAN, 0)
    kept = type("Kept", (type(one.objective),), {"kind": "kept", "state": lambda self: {"pool": None}})
    OBJECTIVES._classes.pop("kept", None)
    other = replace(one, objective=kept())
    assert packing.packing_key(other) is None
    notes = packing.with_packing_note(other).sets.notes
    assert notes[-1] == "`kept` keeps a state from step to step: the trainings come one after the other."


LAZY = """
name: lazy
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  encoder: {inputs: {point: [2]}, layers: [linear: 6, tanh, linear: 4]}
  decoder: {inputs: {z: [2]}, layers: [linear: 6, tanh, linear: 2]}
objective: {vae: {likelihood: gaussian}}
train: {epochs: 6, batch_size: 16, seed: SEED, optimizer: {adam: {lr: RATE}}}
track: {mlflow: false}
"""


def test_what_an_objective_makes_in_its_first_call_does_not_tell_whether_trainings_are_packed(monkeypatch):
    """Else one that goes on behind a batch that it took alone is packed, and the whole one was not."""
    terms, made = Vae.terms, set[int]()

    def lazily(self, *args):
        if id(self) not in made:
            made.add(id(self))
            int(torch.ones(3).argmax())  # looks at a value, as jigsaw does for its orders
        return terms(self, *args)

    monkeypatch.setattr(Vae, "terms", lazily)
    together(several := jobs(LAZY))
    assert {job.learner.way["step"] for job in several} == {"packed"}
    assert made == {id(job.learner.objective) for job in several}


SHORT = GAN.replace("batch_size: 15", "batch_size: 16")
"""Three batches of 16 in an epoch, then one of 12."""


@pytest.mark.parametrize(
    ("text", "objective"), [(SHORT, ""), (SHORT, "loss: wasserstein, clip: 0.05, discriminator_steps: 1"), (LAZY, "")]
)
def test_last_batches_of_an_epoch_are_taken_together_to_the_bits_of_each_alone(text, objective, monkeypatch):
    """Draws, dropout, statistics of norms and clipped weights among them."""
    alone: list[int] = []
    step = phased_pack.PhasedPack._alone

    def counted(self, number, taken):
        alone.append(number)
        step(self, number, taken)

    monkeypatch.setattr(phased_pack.PhasedPack, "_alone", counted)
    stacked, apart = (jobs(text, objective=objective) for _ in range(2))
    records = together(stacked)
    few = len(alone)
    monkeypatch.setattr(phased_pack, "MIN_EPOCHS", 10**9)
    assert together(apart) == records
    assert few < len(alone) - few
    for job, other in zip(stacked, apart, strict=True):
        assert all(map(torch.equal, job.network.state_dict().values(), other.network.state_dict().values()))
        assert torch.equal(job.learner.state()["objective"], other.learner.state()["objective"])
        assert torch.equal(job.progress.rng.get_state(), other.progress.rng.get_state())


def test_last_batches_that_would_leave_other_bits_are_taken_alone(monkeypatch):
    agrees = phased_pack._same
    monkeypatch.setattr(phased_pack, "_same", lambda one, other: agrees(one, None if other is None else other + 1))
    alone: list[int] = []
    monkeypatch.setattr(phased_pack.PhasedPack, "_shorter", lambda *_: alone.append(1) is not None)
    together(several := jobs(SHORT))
    assert len(alone) == 6
    assert {job.learner.way["step"] for job in several} == {"packed"}
