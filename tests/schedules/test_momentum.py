"""Momentum that goes against the rate: torch's OneCycleLR, step by step."""

import pytest
import torch
from helpers import experiment_of
from torch.optim.lr_scheduler import OneCycleLR

from dlx.errors import SpecError
from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.schedules import SCHEDULES, Timeline
from dlx.spec import Train
from dlx.training.fit import updates
from dlx.training.schedule_curve import curve

SPEC = """\
name: net
data: {{synthetic: {{shape: [6], classes: 3, train: 64}}}}
network: {{layers: [{{linear: 3}}]}}
train:
  steps: 20
  batch_size: 8
  optimizer: {optimizer}
  schedule: {{one_cycle: {{cycle_momentum: true{more}}}}}
"""


@pytest.mark.parametrize("more", [{}, {"three_phase": True}, {"anneal_strategy": "linear", "pct_start": 0.5}])
@pytest.mark.parametrize("range_", [{}, {"base_momentum": 0.5, "max_momentum": 0.9}])
def test_it_is_torchs_step_by_step(more, range_):
    weight = torch.zeros(1, requires_grad=True)
    theirs = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    scheduler = OneCycleLR(theirs, max_lr=1.0, total_steps=40, **more, **range_)
    ours = SCHEDULES["one_cycle"](cycle_momentum=True, **more, **range_)
    for step in range(40):
        group = theirs.param_groups[0]
        assert ours.at(step, Timeline(40, 40)) == pytest.approx(group["lr"], rel=1e-12)
        assert ours.momentum(step, Timeline(40, 40)) == pytest.approx(group["momentum"], rel=1e-12)
        theirs.step()
        if step < 39:
            scheduler.step()


@pytest.mark.parametrize(
    ("optimizer", "made"),
    [
        ("{sgd: {lr: 0.1, momentum: 0.9}}", lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9)),
        ("{adam: {lr: 0.1}}", lambda w: torch.optim.Adam(w, lr=0.1)),
    ],
    ids=["momentum of sgd", "beta of adam"],
)
def test_weights_move_as_with_torchs_scheduler(optimizer, made):
    """The same batches, the optimizer and OneCycleLR of torch as one writes them by hand."""
    experiment = experiment_of(SPEC.format(optimizer=optimizer, more=", three_phase: true"))
    job = session.job_of(experiments.prepare(experiment))
    twin = torch.nn.Linear(6, 3)
    twin.load_state_dict({k.removeprefix("linear_1."): v.clone() for k, v in job.network.state_dict().items()})
    theirs = made(twin.parameters())
    scheduler = OneCycleLR(theirs, max_lr=0.1, total_steps=20, three_phase=True)
    order, (x, y) = torch.Generator().manual_seed(0), (job.parts["train"].x, job.parts["train"].y)
    seen = []
    for _ in updates(job, []):
        group = job.learner.optimizer.param_groups[0]
        seen.append(group["momentum"] if "momentum" in group else group["betas"][0])
    for step in range(20):
        if step % 8 == 0:
            batches = torch.split(torch.randperm(64, generator=order), 8)
        theirs.zero_grad()
        index = batches[step % 8]
        torch.nn.functional.cross_entropy(twin(x[index]), y[index]).backward()
        theirs.step()
        if step < 19:
            scheduler.step()
    assert max(seen) == pytest.approx(0.95)
    assert min(seen) == pytest.approx(0.85, abs=0.01)
    torch.testing.assert_close(job.network.get_parameter("linear_1.weight"), twin.weight, rtol=1e-5, atol=1e-6)


def test_a_running_mean_follows_too_and_a_warm_up_waits_at_the_start():
    schedule = {"warmup": {"steps": 5, "then": {"one_cycle": {"cycle_momentum": True}}}}
    train = Train(steps=25, optimizer={"momentum": {"lr": 1.0}}, schedule=schedule)
    moved = [point.momentum for point in curve(train, 100).points]
    assert moved[:6] == [0.95] * 6
    assert moved[10] == 0.85
    assert moved[-1] == pytest.approx(0.95)
    assert [point.momentum for point in curve(Train(steps=3), 100).points] == [None] * 3


@pytest.mark.parametrize(
    ("optimizer", "more", "sentence"),
    [
        ("adagrad", "", "the schedule moves the momentum, and adagrad has none: drop `cycle_momentum`"),
        ("{sgd: 0.1}", "", "the schedule moves the momentum, and that of sgd is 0: write `momentum: 0.95`"),
        ("adam", ", base_momentum: 0.96", "base_momentum 0.96 is above max_momentum 0.95"),
    ],
)
def test_what_has_no_momentum_is_refused(optimizer, more, sentence):
    with pytest.raises(SpecError) as error:
        experiments.prepare(experiment_of(SPEC.format(optimizer=optimizer, more=more)))
    assert sentence in str(error.value)
