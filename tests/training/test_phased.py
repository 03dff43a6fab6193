"""Steps of several phases: how many batches they take, in which precision, on which device, and what is checked."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import pytest
import torch
from helpers import experiment_of

from dlx.data.batch import Batch
from dlx.data.feed import Feed
from dlx.data.generated.toys import Moons
from dlx.errors import DlxError, SpecError
from dlx.experiment import session
from dlx.experiment.recorder import RunRecorder
from dlx.experiment.runner import rates
from dlx.graph.phase_plan import batches_of, span, steps_for
from dlx.objectives import OBJECTIVES, Call, Objective, Phase
from dlx.spec import objective_of
from dlx.training.fit import Job, Record, fit
from dlx.training.prepared import prepare, ready

A, B = ("first",), ("second",)


class Pair(Objective):
    """The mean squares of two linear networks, each in a phase of its own."""

    kind: ClassVar[str] = "pair"
    first: int = 1
    second: int = 1
    repeated: int = 1
    draws: bool = False
    """Whether the second phase reads no field, and draws its inputs."""

    def phases(self) -> Any:
        return (
            Phase("a", A, ("input",), every=self.first),
            Phase("b", B, () if self.draws else ("input",), times=self.repeated, every=self.second),
        )

    def needs(self, fields: Any, networks: Any) -> Any:
        return (Call("first", {"point": "input"}), Call("second", {"point": "input"}))

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        point = torch.randn(5, 2, generator=rng) if phase == "b" and self.draws else batch["input"]
        return {"square": call({"a": "first", "b": "second"}[phase], point=point).square().mean()}


del OBJECTIVES._classes["pair"]

TEXT = """
    data: {moons: {train: 60, valid: 8, test: 8}}
    networks:
      first: {inputs: {point: [2]}, layers: [linear: 1]}
      second: {inputs: {point: [2]}, layers: [linear: 1]}
    objective: {pair: {}}
    train: {steps: 6, batch_size: 6, log_every: 1, optimizer: {sgd: 0.1}}
    track: {mlflow: false}
"""


@pytest.fixture(autouse=True)
def pair(monkeypatch):
    monkeypatch.setitem(OBJECTIVES._classes, "pair", Pair)


def job_of(text: str) -> Job:
    return session.job_of(prepare(experiment_of(text)))


def trained(text: str) -> tuple[Job, list[Record]]:
    job = job_of(text)
    return job, list(fit(job))


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        ready(experiment_of(text))
    return [problem.message for problem in caught.value.problems]


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "taken"),
    [
        ([Phase("a", A), Phase("b", B)], [1, 1, 1, 1]),
        ([Phase("a", A, times=3), Phase("b", B)], [3, 3, 3, 3]),
        ([Phase("a", A), Phase("b", B, times=3)], [4, 4, 4, 4]),
        ([Phase("a", A, times=3, every=2), Phase("b", B)], [3, 1, 3, 1]),
        ([Phase("a", A, every=3)], [1, 0, 0, 1]),
        ([Phase("a", A, reads=(), times=3)], [0, 0, 0, 0]),
    ],
)
def test_a_step_takes_a_batch_for_each_repetition_of_its_phases(phases, taken):
    assert [batches_of(phases, step) for step in range(4)] == taken


def test_an_epoch_has_the_steps_that_take_its_batches():
    assert steps_for([Phase("a", A, times=3), Phase("b", B)], 10) == 4
    assert steps_for([Phase("a", A, times=3, every=2), Phase("b", B)], 10) == 5  # 3 + 1 + 3 + 1 + 3
    assert steps_for([Phase("a", A, every=3)], 10) == 28  # at steps 0, 3, ..., 27
    assert steps_for([Phase("a", A, reads=())], 10) == 10


@pytest.mark.parametrize(
    ("said", "steps"), [("{first: 2}", 20), ("{repeated: 3}", 5), ("{repeated: 3, second: 2}", 8)]
)
def test_a_training_of_epochs_ends_when_its_examples_were_drawn(said, steps):
    text = TEXT.replace("{pair: {}}", f"{{pair: {said}}}").replace("steps: 6", "epochs: 2")
    job, records = trained(text)
    assert (job.total_steps, records[-1].epoch) == (steps, 2)  # 10 batches in an epoch


def test_each_point_of_the_curve_has_the_epoch_of_its_step():
    text = TEXT.replace("{pair: {}}", "{pair: {repeated: 3}}").replace("steps: 6", "steps: 60")
    _, records = trained(text)  # many steps are taken before their points are written
    epochs = {record.step: record.epoch for record in records if record.record == "step"}
    assert epochs == {step: -(-4 * step // 10) for step in range(1, 61)}  # 1 + 3 batches a step, 10 an epoch


class Cut(Feed):
    """Five batches of ones in an epoch, and a length."""

    batches = 5

    def __len__(self) -> int:
        return 0

    def next(self, phase: str) -> Batch:
        return Batch({"input": torch.ones(6, 2)})

    def evaluation(self, part: Any, size: int) -> Any:
        return [Batch({"input": torch.ones(6, 2)})]

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Any) -> None: ...


def test_the_steps_are_those_of_the_feed_for_training_and_for_the_plan(monkeypatch):
    monkeypatch.setattr(Moons, "feed", lambda *_: Cut())
    text = TEXT.replace("steps: 6", "epochs: 2")
    assert job_of(text).total_steps == 10
    assert rates(experiment_of(text))["first"].steps == 10


def test_data_without_epochs_wants_steps():
    experiment = experiment_of(TEXT.replace("steps: 6", "epochs: 2"))
    assert experiment.train is not None
    with pytest.raises(DlxError, match="the data has no epochs"):
        span(objective_of(experiment).phases(), experiment.train, None)


def test_a_batch_without_fields_has_no_examples():
    assert len(Batch({})) == 0


def test_what_reads_no_field_is_not_split_by_accumulate():
    text = TEXT.replace("{pair: {}}", "{pair: {draws: true}}")
    whole, _ = trained(text)
    split, _ = trained(text.replace("batch_size: 6", "batch_size: 3, accumulate: 2"))
    for name, weight in whole.network.state_dict().items():
        assert torch.allclose(weight, split.network.state_dict()[name], rtol=1e-5, atol=1e-7), name


# --- phases that are no part of a step ------------------------------------------------------------------------------


def test_a_step_without_a_phase_moves_nothing_and_has_no_loss():
    text = TEXT.replace("{pair: {}}", "{pair: {first: 2, second: 3}}")
    _, records = trained(text)
    points = [record.metrics for record in records if record.record == "step"]
    there = [sorted(name.split("/")[1] for name in point if name.startswith("train/")) for point in points]
    assert there == [["a", "b"], [], ["a"], ["b"], ["a"], []]


def test_a_term_that_is_left_out_is_no_zero(monkeypatch):
    terms, seen = Pair.terms, []

    def fewer(self, phase, *args):
        seen.append(phase)
        found = terms(self, phase, *args)
        return found | {"more": found["square"]} if len(seen) < 4 else found

    monkeypatch.setattr(Pair, "terms", fewer)
    with pytest.raises(TypeError, match="and at first"):
        trained(TEXT)


# --- one network in two phases --------------------------------------------------------------------------------------


class Twice(Pair):
    """A phase that moves one network, and at each second step one that moves both."""

    kind: ClassVar[str] = "twice"

    def phases(self) -> Any:
        return (Phase("a", A), Phase("b", (*B, *A), every=2))

    def terms(self, phase: str, call: Any, batch: Any, rng: Any) -> Any:
        first = call("first", batch["input"])
        if phase == "a":
            return {"error": (first - 1).square().mean()}
        return {"error": (first * call("second", batch["input"]) - 2).square().mean()}


del OBJECTIVES._classes["twice"]


@pytest.mark.parametrize("batches", ["batch_size: 6", "batch_size: 3, accumulate: 2"])
def test_a_network_of_two_phases_moves_as_in_a_loop_by_hand(batches, monkeypatch):
    monkeypatch.setitem(OBJECTIVES._classes, "twice", Twice)
    text = TEXT.replace("pair: {}", "twice: {}").replace("{sgd: 0.1}", "{sgd: {lr: 0.1, momentum: 0.9}}")
    job = job_of(text.replace("batch_size: 6", f"{batches}, clip_norm: 0.5"))
    first, second = (deepcopy(job.learner.networks[name]) for name in ("first", "second"))
    moves = {one: torch.optim.SGD(one.parameters(), 0.1, momentum=0.9) for one in (first, second)}
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0)).split(6)

    def move(loss, *networks):
        weights = [p for network in networks for p in network.parameters()]
        for p in (*first.parameters(), *second.parameters()):
            p.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.5)
        for network in networks:
            moves[network].step()

    for step in range(6):
        x = job.parts["train"].x[order[step]]
        move((first(x) - 1).square().mean(), first)
        if step % 2 == 0:
            move((first(x) * second(x) - 2).square().mean(), second, first)
    list(fit(job))
    for name, network in (("first", first), ("second", second)):
        for p, wanted in zip(job.learner.networks[name].parameters(), network.parameters(), strict=True):
            assert torch.allclose(p, wanted, rtol=1e-6, atol=1e-7)


# --- precision and device -------------------------------------------------------------------------------------------


def test_inputs_by_name_go_through_bf16():
    _, records = trained(TEXT.replace("steps: 6", "steps: 6, precision: bf16"))
    _, plain = trained(TEXT)
    assert records[-1].metrics == pytest.approx(plain[-1].metrics, rel=0.05)
    assert records[-1].metrics != plain[-1].metrics


def test_what_an_objective_draws_goes_to_the_device_of_the_networks():
    job = job_of(TEXT)
    job.network.to("meta")
    job.learner.compute.device = torch.device("meta")
    noise = torch.randn(3, 2)
    assert job.learner.call("first", noise).device.type == "meta"
    assert job.learner.call("first", point=noise).device.type == "meta"


# --- what is refused ------------------------------------------------------------------------------------------------


def test_keep_best_has_to_name_a_metric():
    (message,) = refused(TEXT.replace("log_every: 1", "keep_best: 2"))
    assert message == "`keep_best` follows valid/loss, which is not measured"
    named = TEXT.replace("log_every: 1", "keep_best: {count: 2, metric: valid/a/loss}")
    assert ready(experiment_of(named))


@pytest.mark.parametrize(
    ("field", "said", "word"),
    [
        ("optimizer", "{first: sgd, second: sgd, third: sgd}", "an optimizer"),
        ("schedule", "{third: cosine}", "a schedule"),
        ("average", "{third: {ema: 0.9}}", "an average"),
    ],
)
def test_a_network_that_no_phase_trains_has_none_of_them(field, said, word):
    third = "      third: {inputs: {point: [2]}, layers: [linear: 1]}\n    objective:"
    text = TEXT.replace("    objective:", third) + "    freeze: [third]\n"
    assert ready(experiment_of(text))
    text = text.replace(", optimizer: {sgd: 0.1}}", f", {field}: {said}}}")
    (message,) = refused(text)
    assert message == f"the network `third` has {word}, and no phase of `pair` trains it"


def test_rates_are_no_metrics_of_a_run_that_was_stopped(tmp_path):
    prepared = prepare(experiment_of(TEXT))
    folder = session.new_run(prepared, tmp_path)
    result = session.train_run(RunRecorder(folder), prepared, session.Session(until=3))
    assert result.metrics.keys() == {"train/a/square", "train/b/square"}
