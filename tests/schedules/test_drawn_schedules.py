"""Schedules with drawn options give torch's rates, update by update; a plateau drops where torch's does."""

from math import inf, nan
from random import Random

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from dlx.schedules import SCHEDULES, Timeline

LR = 0.3


def optimizer(lr=LR):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def step(draw, _):
    size, gamma = draw.randrange(1, 20), draw.choice([0.1, 0.5, 1.1])
    return {"step_size": size, "gamma": gamma}, lambda o: theirs.StepLR(o, size, gamma)


def multi_step(draw, _):
    milestones, gamma = [draw.randrange(1, 70) for _ in range(draw.randrange(1, 5))], draw.choice([0.1, 0.5, 1.1])
    options = {"milestones": milestones, "gamma": gamma}
    return options, lambda o: theirs.MultiStepLR(o, sorted(milestones), gamma)


def exponential(draw, _):
    gamma = draw.uniform(0.5, 1.2)
    return {"gamma": gamma}, lambda o: theirs.ExponentialLR(o, gamma)


def linear(draw, steps):
    first, last, total = draw.uniform(0.01, 1), draw.uniform(0, 1), draw.choice([None, draw.randrange(1, 80)])
    options = {"start_factor": first, "end_factor": last, "total_iters": total}
    return options, lambda o: theirs.LinearLR(o, first, last, total or steps)


def polynomial(draw, steps):
    power, total = draw.uniform(0.1, 3), draw.choice([None, draw.randrange(1, 80)])
    return {"power": power, "total_iters": total}, lambda o: theirs.PolynomialLR(o, total or steps, power)


def cosine(draw, steps):
    half, last = draw.choice([None, draw.randrange(1, 80)]), draw.choice([0, draw.uniform(0, 1), 1.5])
    options = {"T_max": half, "end_factor": last}
    return options, lambda o: theirs.CosineAnnealingLR(o, half or steps, last * LR)


def cosine_restarts(draw, _):
    first, times, last = draw.randrange(1, 20), draw.randrange(1, 4), draw.choice([0, draw.uniform(0, 1)])
    options = {"T_0": first, "T_mult": times, "end_factor": last}
    return options, lambda o: theirs.CosineAnnealingWarmRestarts(o, first, times, last * LR)


def one_cycle(draw, steps):
    total = draw.choice([None, draw.randrange(steps, steps + 40)])
    options = {
        "pct_start": draw.choice([0.0, 0.3, 0.5, draw.uniform(0, 1)]),
        "anneal_strategy": draw.choice(["cos", "linear"]),
        "div_factor": draw.uniform(1, 30),
        "final_div_factor": draw.uniform(0.5, 1e4),
        "three_phase": draw.random() < 0.5,
        "cycle_momentum": True,
        "base_momentum": draw.uniform(0, 0.5),
        "max_momentum": draw.uniform(0.5, 0.99),
    }
    return options | {"total_steps": total}, lambda o: theirs.OneCycleLR(o, LR, total or steps, **options)


GENERATED = {
    f.__name__: f for f in (step, multi_step, exponential, linear, polynomial, cosine, cosine_restarts, one_cycle)
}


def same(schedule, scheduler, steps):
    optim = optimizer()
    torchs, span = scheduler(optim), Timeline(steps, 7)
    for at in range(steps):
        group = optim.param_groups[0]
        assert LR * schedule.at(at, span) == pytest.approx(group["lr"], rel=1e-7, abs=1e-12), (at, schedule)
        if schedule.moves_momentum:
            assert schedule.momentum(at, span) == pytest.approx(group["momentum"], rel=1e-9), (at, schedule)
        if at < steps - 1:
            optim.step()
            torchs.step()


@pytest.mark.parametrize("kind", GENERATED)
def test_rates_of_drawn_options_are_torchs(kind):
    draw = Random(kind)
    for _ in range(40):
        steps = draw.randrange(2, 60)
        options, scheduler = GENERATED[kind](draw, steps)
        same(SCHEDULES[kind](**options, unit="step"), scheduler, steps)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # torch's own SequentialLR
def test_rates_after_a_drawn_warm_up_are_torchs():
    draw = Random("warmup")
    for _ in range(60):
        kind = draw.choice(["step", "multi_step", "exponential", "linear", "polynomial", "cosine"])
        first, rest, factor = draw.randrange(1, 20), draw.randrange(2, 40), draw.uniform(0.01, 1)
        options, scheduler = GENERATED[kind](draw, rest)
        schedule = SCHEDULES["warmup"](steps=first, start_factor=factor, then={kind: {**options, "unit": "step"}})

        def torchs(o, first=first, factor=factor, scheduler=scheduler):
            return theirs.SequentialLR(o, [theirs.LinearLR(o, factor, 1.0, first), scheduler(o)], [first])

        same(schedule, torchs, first + rest)


def test_a_plateau_drops_at_the_steps_of_torchs_whatever_it_sees():
    draw = Random("plateau")
    for _ in range(1500):
        mode, lowest = draw.choice(["min", "max"]), draw.choice([0.0, 0.01, 0.5])
        options = {
            "factor": draw.choice([0.1, 0.5, 0.9]),
            "patience": draw.randrange(4),
            "threshold": draw.choice([0.0, 1e-4, 0.1, 0.5, 1.0, 2.0]),
            "threshold_mode": draw.choice(["rel", "abs"]),
            "cooldown": draw.randrange(4),
        }
        optim = optimizer(1.0)
        torchs = theirs.ReduceLROnPlateau(optim, mode=mode, min_lr=lowest, eps=0, **options)
        ours = SCHEDULES["plateau"](mode=mode, min_factor=lowest, **options).watch()
        seen = [draw.choice([inf, -inf, nan, 0.0, *(draw.uniform(-2, 2) for _ in range(4))]) for _ in range(25)]
        for at, value in enumerate(seen):
            torchs.step(value)
            ours.update(value)
            assert ours.factor == optim.param_groups[0]["lr"], (mode, options, seen[: at + 1])


def test_an_infinite_first_value_is_no_best():
    watch = SCHEDULES["plateau"](patience=1, factor=0.5).watch()
    factors = []
    for value in (inf, inf, 1.0):
        watch.update(value)
        factors.append(watch.factor)
    assert factors == [1.0, 0.5, 0.5]
    assert watch.best == 1.0
