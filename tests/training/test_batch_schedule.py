"""Batches that grow: sizes and updates by hand, schedules that count epochs, every example once an epoch."""

import json

import pytest
import torch
from commands import dlx
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.schedules import SCHEDULES, Timeline
from dlx.spec import Train
from dlx.training.device import check_batch
from dlx.training.fit import updates
from dlx.training.schedule_curve import curve

GROWS = Timeline(18, 10, ((10, 5), (15, 3)))
"""100 examples in batches of 10, then 20, then 40: epochs of 10, 5, 3 updates."""


def train(**more) -> Train:
    schedule = {"milestones": [1, 2], "factor": 2.0} | more.pop("batch_schedule", {})
    return Train(**{"epochs": 3, "batch_size": 10, "batch_schedule": schedule} | more)


def test_updates_of_each_epoch_by_hand():
    assert train().span(100) == GROWS
    assert train(steps=50, epochs=None).span(100) == Timeline(50, 10, ((10, 5), (15, 3)))
    assert train(drop_last=True).span(100) == Timeline(17, 10, ((10, 5), (15, 2)))
    assert train(accumulate=2).span(100) == Timeline(10, 5, ((5, 3), (8, 2)))
    assert train(epochs=1).span(100).steps == 10


@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        ({}, [10, 20, 40, 40]),
        ({"factor": 1.5}, [10, 15, 22, 22]),
        ({"max_size": 30}, [10, 20, 30, 30]),
        ({"milestones": [3, 1], "factor": 5.0}, [10, 50, 50, 100]),
    ],
)
def test_sizes_by_hand(more, sizes):
    assert [train(batch_schedule=more).batch(100, epoch) for epoch in range(4)] == sizes


def test_epochs_and_updates_are_each_others_inverse():
    assert [GROWS.time(step, "epoch") for step in (0, 9, 10, 14, 15, 17)] == [(e, 3) for e in (0, 0, 1, 1, 2, 2)]
    assert [GROWS.updates(epochs) for epochs in range(6)] == [0, 10, 15, 18, 21, 24]
    assert Timeline(50, 10).updates(3) == 30
    assert GROWS.rest(12) == Timeline(6, 5, ((3, 3),))
    assert GROWS.rest(16) == Timeline(2, 3)
    assert GROWS.rest(10) == Timeline(8, 5, ((5, 3),))


def test_schedules_by_epoch_follow_the_epochs_that_there_are():
    drop = SCHEDULES["step"](step_size=1, gamma=0.5)
    assert [drop.at(step, GROWS) for step in (9, 10, 14, 15)] == [1, 0.5, 0.5, 0.25]
    warm = SCHEDULES["warmup"](epochs=2, start_factor=0.0, then=drop)
    assert [warm.at(step, GROWS) for step in (0, 3, 14)] == [0, 0.2, 14 / 15]
    assert [warm.at(step, GROWS._replace(steps=24)) for step in (15, 17, 18, 21)] == [1, 1, 0.5, 0.25]
    assert SCHEDULES["cosine_restarts"](T_0=1).cycles(GROWS) == [10, 15, 18]


def grown():
    experiment = experiment_of(SPEC)
    made = experiments.prepare(experiment)
    return session.job_of(made)


SPEC = """\
name: grows
data: {synthetic: {shape: [6], classes: 3, train: 100}}
network: {layers: [{linear: 3}]}
train: {epochs: 3, batch_size: 10, batch_schedule: {milestones: [1, 2]}, optimizer: {sgd: 0.1}}
"""


def test_each_epoch_takes_every_example_once_in_batches_of_its_size():
    job, taken = grown(), []
    part = job.parts["train"]
    take = type(part).take

    class Noting(type(part)):
        def take(self, index):
            taken.append(index.clone())
            return take(self, index)

    job.feed.part = Noting(part.x, part.y)
    seen = [job.feed.epoch for _ in updates(job, [])]
    assert [len(index) for index in taken] == [10] * 10 + [20] * 5 + [40, 40, 20]
    assert seen == [1] * 10 + [2] * 5 + [3] * 3
    for some in (taken[:10], taken[10:15], taken[15:]):
        assert torch.cat(some).sort().values.equal(torch.arange(100))


def test_what_is_accumulated_gives_the_weights_of_batches_as_large():
    def after(**more):
        job = grown()
        job.learner.train = job.feed.train = job.train.model_copy(update=more)
        for _ in updates(job, []):
            pass
        return job.network.get_parameter("linear_1.weight").detach()

    torch.testing.assert_close(after(), after(batch_size=5, accumulate=2))


def test_the_largest_batch_is_what_must_fit():
    assert train().largest(100) == 40
    assert train(epochs=2).largest(100) == 20
    assert train(steps=5, epochs=None).largest(100) == 40
    assert train(accumulate=3).largest(100) == 10
    experiment = experiment_of(SPEC.replace("shape: [6]", "shape: [100000]"))
    graph = experiments.prepare(experiment).graph
    with pytest.raises(Exception, match="a training step of 40 samples wants about"):
        check_batch(graph, experiment.train, 100, 2_000_000)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("batch_size: all, ", "a batch is the whole training set and cannot grow: drop `batch_schedule`"),
        ("optimizer: gradient_descent, ", "a batch is the whole training set and cannot grow"),
        ("batch_size: 64, ", "`max_size: 32` of the batch_schedule is below `batch_size: 64`"),
    ],
)
def test_contradictions_are_refused(more, sentence):
    text = SPEC[: SPEC.index("train: {e")]
    with pytest.raises(SpecError) as error:
        experiments.prepare(
            experiment_of(f"{text}train: {{epochs: 3, {more}batch_schedule: {{milestones: [1], max_size: 32}}}}\n")
        )
    assert sentence in str(error.value)


def test_a_factor_that_does_not_grow_is_refused():
    with pytest.raises(SpecError, match="must be above 1"):
        experiments.prepare(experiment_of(SPEC.replace("[1, 2]}", "[1], factor: 1}")))


def test_the_curve_has_epochs_and_sizes(tmp_path):
    points = curve(train(), 100).points
    assert [(p.epoch, p.batch_size) for p in points] == [(1, 10)] * 10 + [(2, 20)] * 5 + [(3, 40)] * 3
    path = tmp_path / "grows.yaml"
    path.write_text(SPEC)
    command = ["train", path, "--plot-schedule"]
    shown = dlx(*command, check=True).stdout
    assert "step  epoch  learning rate  batch" in shown
    assert shown.splitlines()[-1].split() == ["18", "3", "0.1", "40"]
    output = dlx(*command, "--json", check=True).stdout
    assert json.loads(output)["points"][-1] == {"step": 18, "epoch": 3, "lr": 0.1, "batch_size": 40, "momentum": None}
