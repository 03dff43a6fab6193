"""Schedules that torch has give torch's rates, call by call; the others those of their formulas."""

import json
from math import ceil, exp, sqrt

import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler as theirs

from dlx.schedules import SCHEDULES, Timeline

LR = 0.3
STEPS = 100
AS_STEPS = Timeline(STEPS, per_epoch=1)
"""An epoch of one update: steps and epochs are the same."""

TORCHS = {
    "constant": [({}, lambda o: theirs.ConstantLR(o, factor=1.0))],
    "step": [({"step_size": 7, "gamma": 0.7}, lambda o: theirs.StepLR(o, 7, 0.7))],
    "multi_step": [
        ({"milestones": [5, 30, 31], "gamma": 0.5}, lambda o: theirs.MultiStepLR(o, [5, 30, 31], 0.5)),
        ({"milestones": [50, 20, 20]}, lambda o: theirs.MultiStepLR(o, [50, 20, 20])),
    ],
    "exponential": [({"gamma": 0.95}, lambda o: theirs.ExponentialLR(o, 0.95))],
    "linear": [
        ({}, lambda o: theirs.LinearLR(o, 1.0, 0.0, STEPS)),
        ({"start_factor": 1 / 3, "end_factor": 1.0, "total_iters": 5}, theirs.LinearLR),
    ],
    "polynomial": [
        ({"total_iters": 40, "power": 2.0}, lambda o: theirs.PolynomialLR(o, 40, 2.0)),
        ({}, lambda o: theirs.PolynomialLR(o, STEPS)),
    ],
    "cosine": [
        ({}, lambda o: theirs.CosineAnnealingLR(o, STEPS)),
        ({"T_max": 30, "end_factor": 0.1}, lambda o: theirs.CosineAnnealingLR(o, 30, eta_min=0.1 * LR)),
    ],
    "cosine_restarts": [
        ({"T_0": 10}, lambda o: theirs.CosineAnnealingWarmRestarts(o, 10)),
        (
            {"T_0": 7, "T_mult": 2, "end_factor": 0.1},
            lambda o: theirs.CosineAnnealingWarmRestarts(o, 7, 2, eta_min=0.1 * LR),
        ),
    ],
    "one_cycle": [
        ({}, lambda o: theirs.OneCycleLR(o, LR, STEPS, cycle_momentum=False)),
        (
            {"three_phase": True, "pct_start": 0.4, "div_factor": 10.0, "final_div_factor": 100.0},
            lambda o: theirs.OneCycleLR(
                o,
                LR,
                STEPS,
                pct_start=0.4,
                div_factor=10,
                final_div_factor=100,
                three_phase=True,
                cycle_momentum=False,
            ),
        ),
        (
            {"anneal_strategy": "linear", "total_steps": 110},
            lambda o: theirs.OneCycleLR(o, LR, 110, anneal_strategy="linear", cycle_momentum=False),
        ),
    ],
    "warmup": [
        ({"steps": 10}, lambda o: theirs.LinearLR(o, 0.01, 1.0, 10)),
        (
            {"steps": 10, "start_factor": 0.2, "then": {"cosine": {}}},
            lambda o: theirs.SequentialLR(
                o, [theirs.LinearLR(o, 0.2, 1.0, 10), theirs.CosineAnnealingLR(o, STEPS - 10)], [10]
            ),
        ),
        (
            {"epochs": 5, "then": {"multi_step": {"milestones": [20], "unit": "epoch"}}},
            lambda o: theirs.SequentialLR(o, [theirs.LinearLR(o, 0.01, 1.0, 5), theirs.MultiStepLR(o, [20])], [5]),
        ),
    ],
}
CASES = [(kind, *case) for kind, many in TORCHS.items() for case in many]
FORMULAS = {
    "inverse_time": ({"k": 0.5}, lambda t: 1 / (1 + 0.5 * t)),
    "inverse_sqrt": ({"k": 0.5}, lambda t: 1 / sqrt(1 + 0.5 * t)),
    "inverse_sigmoid": ({"k": 5}, lambda t: 5 / (5 + exp(t / 5))),
    "exponential": ({"k": 0.1}, lambda t: exp(-0.1 * t)),
}


def made(kind: str, **options):
    return SCHEDULES[kind].model_validate(options)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # torch's own SequentialLR
@pytest.mark.parametrize(("kind", "options", "scheduler"), CASES)
def test_a_hundred_rates_are_torchs(kind, options, scheduler):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    torchs = scheduler(optimizer)
    schedule = made(kind, **options)
    for step in range(STEPS):
        rate = optimizer.param_groups[0]["lr"]
        assert LR * schedule.at(step, AS_STEPS) == pytest.approx(rate, rel=1e-9, abs=1e-15), step
        optimizer.step()
        torchs.step()


@pytest.mark.parametrize("kind", FORMULAS)
def test_the_others_are_their_formulas(kind):
    options, formula = FORMULAS[kind]
    schedule = made(kind, **options)
    for step in range(STEPS):
        assert schedule.at(step, AS_STEPS) == pytest.approx(formula(step), rel=1e-12)


def test_every_schedule_is_in_these_tests():
    assert set(SCHEDULES) == {*TORCHS, *FORMULAS, "plateau"}


def test_e_to_the_minus_k_is_a_gamma():
    by_gamma, by_k = made("exponential", gamma=exp(-0.2)), made("exponential", k=0.2)
    assert [by_gamma.at(t, AS_STEPS) for t in range(30)] == pytest.approx([by_k.at(t, AS_STEPS) for t in range(30)])


def test_a_growing_rate_that_no_float_holds_is_infinite():
    assert made("exponential", gamma=10.0).at(1000, AS_STEPS) == float("inf")


def test_a_warm_up_and_an_inverse_root_are_the_schedule_of_the_transformer():
    """min(1/sqrt(s), s / W^1.5) for update s, as a part of its largest value, 1/sqrt(W): Vaswani et al. 2017."""
    warm = 40
    schedule = made("warmup", steps=warm - 1, start_factor=1 / warm, then={"inverse_sqrt": 1 / warm})
    for step in range(200):
        s = step + 1
        expected = min(1 / sqrt(s), s / warm**1.5) * sqrt(warm)
        assert schedule.at(step, Timeline(200, 10)) == pytest.approx(expected, rel=1e-12), s


@pytest.mark.parametrize("kind", sorted(set(SCHEDULES) - {"constant", "plateau", "warmup"}))
def test_epochs_and_steps_are_counted_as_said(kind):
    """In epochs the rate stays during an epoch, and is the one that as many steps would give."""
    options = (TORCHS.get(kind) or [FORMULAS[kind]])[-1][0]
    by_epoch, by_step = made(kind, **options, unit="epoch"), made(kind, **options, unit="step")
    span = Timeline(steps=45, per_epoch=4)
    for step in range(span.steps):
        assert by_epoch.at(step, span) == by_step.at(step // 4, Timeline(ceil(45 / 4), per_epoch=1))


def test_what_spans_the_training_begins_whole_and_ends_near_its_end():
    span = Timeline(steps=50, per_epoch=10)
    for kind in ("linear", "cosine", "polynomial"):
        schedule = made(kind)
        assert schedule.at(0, span) == 1
        assert 0 < schedule.at(49, span) < 0.021
    assert made("one_cycle").at(49, span) == pytest.approx(1 / 25 / 1e4)


def test_a_warm_up_by_epochs_moves_with_each_update():
    schedule = made("warmup", epochs=2, start_factor=0.0, then="constant")
    span = Timeline(steps=20, per_epoch=5)
    assert [schedule.at(step, span) for step in range(12)] == pytest.approx([t / 10 for t in range(10)] + [1, 1])


def test_a_warm_up_that_is_longer_than_the_training_is_no_mistake():
    schedule = made("warmup", steps=30, then={"cosine": {}})
    assert schedule.at(9, Timeline(10, 10)) == pytest.approx(0.01 + 0.99 * 9 / 30)
    assert schedule.at(30, Timeline(10, 10)) == 1


METRICS = [3.0, 2.0, 2.1, 1.99995, 2.2, 2.3, 2.2, 2.3, 1.0, 1.2, 1.1, 1.3, 1.4, 1.2, 0.9, 0.95, 0.91, 0.92, 0.99, 1.0]
PLATEAUS = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "min_factor": 0.2},
    {"patience": 1, "cooldown": 2, "threshold": 0.3, "threshold_mode": "abs"},
    {"patience": 2, "mode": "max", "factor": 0.3},
    {"patience": 1, "mode": "max", "threshold": 0.1, "threshold_mode": "abs"},
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_a_plateau_drops_where_torchs_does(options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    named = {k: v for k, v in options.items() if k != "min_factor"}
    torchs = theirs.ReduceLROnPlateau(optimizer, **named, min_lr=options.get("min_factor", 0) * LR, eps=0)
    watch = made("plateau", **options).watch()
    for value in METRICS:
        torchs.step(value)
        watch.update(value)
        assert LR * watch.factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
    assert watch.factor < 1


@pytest.mark.parametrize("options", PLATEAUS)
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_plateau_goes_on_from_what_it_saved(options, at):
    schedule = made("warmup", steps=3, then={"plateau": options})
    straight, broken = schedule.watch(), schedule.watch()
    for value in METRICS[:at]:
        broken.update(value)
    again = schedule.watch()
    again.restore(json.loads(json.dumps(broken.state())))
    for value in METRICS:
        straight.update(value)
    for value in METRICS[at:]:
        again.update(value)
    assert again.state() == straight.state()


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("exponential", {}, "exponential wants `gamma` or `k`: give one of the two"),
        ("exponential", {"gamma": 0.5, "k": 1.0}, "exponential wants `gamma` or `k`: give one of the two"),
        ("warmup", {"steps": 3, "epochs": 1}, "warmup lasts `steps: N` or `epochs: N`: give one of the two"),
        ("warmup", {"steps": 3, "then": "nothing"}, "there is no schedule `nothing`"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(kind, options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        made(kind, **options)
