"""Short trainings: a batch by heart, rates from tiny to huge, labels that mean nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from ...optim import Optimizer
from ...optim.adam import Adam
from ...training.batches.data_part import DataPart
from ...training.fit import evaluate
from .check import Outcome, check, left_out
from .checks_data import fingerprints
from .probe import Patient, losses

if TYPE_CHECKING:
    from torch import Tensor

BY_HEART, STEPS = 20, 500
"""Examples to learn by heart, and updates for it."""
NEARLY_ZERO = 0.05
"""Of the loss of knowing nothing."""
LOWEST, HIGHEST, RATES = 1e-6, 10.0, 140
SMOOTHING = 0.8
PROBES, PROBE, FEW, ADAM = (1e-4, 1e-3, 1e-2, 1e-1, 1.0), 250, 20, 1e-2
"""Rates that are tried one by one, updates at each, how many its first and last loss are means of, and Adam's."""
MIXED = {"accumulate": 1, "shuffle": True}
"""Batches whose losses can be compared: in the order of a file they may differ more than training changes them."""
LEARNED = 0.98
"""Of the loss of one answer for all: what is below it has learned something of the inputs."""
SHUFFLED_STEPS = 300
BARS = "▁▂▃▄▅▆▇█"
TOO_LARGE = "too large for seconds: --thorough"


# ---- one batch by heart --------------------------------------------------------------------------------------


@check("overfit a batch")
def overfit(patient: Patient) -> Outcome:
    """A few examples are learned by heart: by the spec's optimizer, or else at least by Adam."""
    part = patient.chosen(BY_HEART)
    steps = patient.affordable(len(part), STEPS)
    if steps < min(STEPS, 100):
        return left_out(TOO_LARGE)
    blind = patient.blind(part)
    goal = NEARLY_ZERO * abs(blind)
    course = _course(patient, part, steps, goal, patient.free.train.optimizer)
    expected = f"below {goal:.2g} within {steps} steps, {len(part)} samples"
    figure = f"{course[-1]:.2g} after {len(course)} steps"
    if course[-1] <= goal:
        return Outcome("ok", figure, expected)
    other = _course(patient, part, steps, goal, Adam())
    verdict, told, hint = _stuck(patient, course, other, blind, goal)
    mark = patient.place("network") if hint in (CANNOT, SMALL) else patient.place("train", "optimizer")
    return Outcome(verdict, figure, expected, told, hint, mark)


def _course(patient: Patient, part: DataPart, steps: int, goal: float, optimizer: Any) -> list[float]:
    """The losses on the way, until they are low enough."""
    settings = {"batch_size": len(part), "accumulate": 1, "optimizer": optimizer, "groups": []}
    if optimizer.takes != "gradient":
        steps = min(steps, 20)
    found: list[float] = []
    for loss in losses(patient.free.job(patient.network(), {"train": part}, steps, **settings)):
        found.append(loss)
        if loss <= goal:
            break
    return found


SMALL = "With units enough, and at a rate that fits, examples are learned by heart: see `learning rates`."
CANNOT = "What cannot learn a few examples learns nothing from many: look at the other findings, or widen it."


def _stuck(
    patient: Patient, course: Sequence[float], other: Sequence[float], blind: float, goal: float
) -> tuple[Any, str, str]:
    """Verdict, finding and way out where the batch was not learned."""
    kind, lr = patient.train.optimizer.kind, patient.train.optimizer.lr
    first, last, reached = course[0], course[-1], other[-1] <= goal
    how = f"{kind} with lr {lr:g}"
    adam = f"adam with 1e-3 gets to {other[-1]:.2g}"
    if patient.train.optimizer.takes != "gradient" and not math.isfinite(last):
        told = f"{how} has no finite loss after update {len(course) - 1}; {adam}"
        return "wrong", told, f"{kind} cannot make that step: `dlx train` tells why."
    if not math.isfinite(last) or max(course) > 3 * first + 1:
        told = f"{how} brings the loss from {first:.3g} up to {max(map(_finite, course)):.3g}; {adam}"
        return "wrong", told, "The learning rate is too large: see `learning rates` for one that fits."
    if reached and last > 0.9 * first:
        told = f"{how} leaves the loss at {last:.3g} of {first:.3g} after {len(course)} steps; {adam}"
        return "wrong", told, "The learning rate is too small: see `learning rates` for one that fits."
    if reached:
        told = f"{how} is on its way after {len(course)} steps, from {first:.3g} to {last:.3g}; {adam}"
        return "look", told, "A larger learning rate may be quicker."
    best = min(_finite(last), _finite(other[-1]))
    if best > 0.9 * abs(blind):
        is_that = "which is that" if best <= 1.1 * abs(blind) else "worse than that"
        told = f"the loss stays at {best:.3g}, {is_that} of knowing nothing ({blind:.3g}); {adam}"
        return "wrong", told, CANNOT
    told = f"the loss gets from {first:.3g} to {best:.3g} in {len(course)} steps, not to {goal:.2g}; {adam}"
    return "look", told, SMALL


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


# ---- learning rates ------------------------------------------------------------------------------------------


@check("learning rates")
def learning_rates(patient: Patient) -> Outcome:
    """The loss while the rate grows from tiny to huge: where it falls, and where it breaks.

    Twenty updates at each order of magnitude miss what starts slowly, as recurrent networks do, and a rate that is
    fine for twenty may break later: where they speak against the spec's rate, longer trainings at a few rates decide.
    """
    train = patient.train
    batch = min(train.per_update(len(patient.parts["train"])), 128)
    if train.optimizer.takes != "gradient":
        return left_out(f"{train.optimizer.kind} takes steps of its own")
    if patient.affordable(batch, RATES) < RATES:
        return left_out(TOO_LARGE)
    rates, curve = _sweep(patient, batch)
    low, high, breaks = range_of(rates, curve)
    lr, line = train.optimizer.lr, sparkline(smoothed(curve))
    learns = bool(high) and min(smoothed(curve)) < LEARNED * patient.constant
    if learns and low / 10 <= lr <= high * 3 and not (breaks and lr >= breaks):
        return Outcome("ok", f"{low:.1g} to {high:.1g}  {line}", f"lr {lr:g} near them")
    tried = {lr, low, math.sqrt(low * high), high} if learns else {lr, *PROBES}
    steps = patient.affordable(batch, len(tried) * PROBE, len(tried)) // len(tried)
    if steps < FEW:
        return left_out(TOO_LARGE)
    found = {rate: _probe(patient, batch, steps, train.optimizer, rate) for rate in sorted(tried)}
    return _compare_rates(patient, found, batch, line)


def _compare_rates(patient: Patient, found: dict[float, list[float]], batch: int, line: str) -> Outcome:
    """Judge the spec's learning rate by short trainings at several rates."""
    lr, place, steps = patient.train.optimizer.lr, patient.place("train", "optimizer"), len(found[min(found)])
    early = found[min(found)][:FEW]
    start = statistics.fmean(early)
    noise = statistics.pstdev(early) + 0.01 * abs(start)
    ends = {rate: _end(curve) for rate, curve in found.items()}
    best = min(ends, key=ends.__getitem__)
    fell, own, goal = start - ends[best], start - ends[lr], LEARNED * patient.constant
    if not fell > noise or ends[best] > goal:
        below = f" below {patient.constant:.3g}, that of one answer for all," if fell > noise else ""
        message = f"the loss falls{below} at no rate: tried {', '.join(f'{rate:.2g}' for rate in found)}, "
        adam = _end(_probe(patient, batch, steps, Adam(), ADAM))
        helps = start - adam > noise and adam <= goal
        hint = (
            f"`optimizer: {{adam: {ADAM:g}}}` brings it to {adam:.3g}."
            if helps
            else "Another network or initialisation may learn."
        )
        return Outcome("look", line, "a rate at which the loss falls", f"{message}{steps} updates each", hint, place)
    figure, expected = f"{start:.3g} to {ends[lr]:.3g} in {steps} updates  {line}", f"about {ends[best]:.3g}"
    if own >= fell / 2:
        return Outcome("ok", figure, expected)
    way = "up" if own < -noise else "only"
    message = f"lr {lr:g} brings the loss {way} from {start:.3g} to {ends[lr]:.3g} in {steps} updates"
    message += f", and lr {best:.2g} to {ends[best]:.3g}"
    return Outcome("wrong" if own < -noise else "look", figure, expected, message, f"Write `lr: {best:.2g}`.", place)


def _end(curve: Sequence[float]) -> float:
    """The mean of the last few losses; infinite where one is not finite."""
    return statistics.fmean(map(_finite, curve[-FEW:]))


def _probe(patient: Patient, batch: int, steps: int, optimizer: Optimizer, rate: float) -> list[float]:
    """The losses of a short training at one rate."""
    changes = {**MIXED, "batch_size": batch, "optimizer": optimizer.model_copy(update={"lr": rate})}
    return list(losses(patient.job(patient.network(), {"train": patient.parts["train"]}, steps, **changes)))


def _sweep(patient: Patient, batch: int) -> tuple[list[float], list[float]]:
    """Rates from LOWEST on, and the loss after an update at each, until it breaks."""
    growth = (HIGHEST / LOWEST) ** (1 / (RATES - 1))
    optimizer = patient.train.optimizer.model_copy(update={"lr": LOWEST})
    changes = {**MIXED, "batch_size": batch, "optimizer": optimizer}
    job = patient.job(patient.network(), {"train": patient.parts["train"]}, RATES + 1, **changes)
    found: list[float] = []
    for loss in losses(job):
        found.append(loss)
        for group in job.supervised.optimizer.param_groups:
            group["lr"] *= growth
        if not math.isfinite(loss) or loss > 10 * found[0] + 1:
            break
    seen = found[1:]  # the loss that comes out of an update is that before the next
    return [LOWEST * growth**k for k in range(len(seen))], seen


def smoothed(values: Sequence[float]) -> list[float]:
    """An exponential mean, without the bias of its start."""
    mean, found = 0.0, []
    for count, value in enumerate(values, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * min(_finite(value), 1e30)
        found.append(mean / (1 - SMOOTHING**count))
    return found


def range_of(rates: Sequence[float], losses: Sequence[float]) -> tuple[float, float, float]:
    """Where the loss begins to fall, where it has nearly stopped, and where it is above its start again (else 0).

    All three are 0 where it does not fall by more than batches differ while rates are tiny.
    """
    curve, early = smoothed(losses), losses[:20]
    if len(curve) < 20 or not math.isfinite(sum(early)):
        return 0.0, 0.0, 0.0
    start = statistics.fmean(early)
    bottom = min(range(len(curve)), key=curve.__getitem__)
    fall = start - curve[bottom]
    if fall <= statistics.pstdev(early) + 0.01 * abs(start):
        return 0.0, 0.0, 0.0
    before = [k for k in range(bottom) if curve[k] > start - 0.1 * fall]
    low = rates[before[-1] + 1] if before else rates[0]
    high = next(rate for rate, value in zip(rates, curve, strict=True) if value <= start - 0.9 * fall)
    after = zip(rates[bottom:], curve[bottom:], strict=True)
    return low, max(low, high), next((rate for rate, value in after if value > start + 0.1 * fall), 0.0)


def sparkline(curve: Sequence[float], width: int = 20) -> str:
    """A curve in one line of blocks, its top at the start of the curve."""
    picked = [curve[round(i * (len(curve) - 1) / (width - 1))] for i in range(width)] if curve else []
    low, top = min(picked, default=0.0), max(picked[:3], default=1.0)
    span = max(top - low, 1e-30)
    return "".join(BARS[min(7, round((value - low) / span * 7))] for value in picked)


# ---- labels that mean nothing --------------------------------------------------------------------------------


@check("shuffled labels")
def shuffled_labels(patient: Patient) -> Outcome:
    """Trained on labels that mean nothing, the network guesses; more than that it can only know from copies."""
    train, name = patient.parts["train"], "valid" if "valid" in patient.parts else "test"
    if patient.facts.classes is None or train.y.dim() != 1 or name not in patient.parts:
        return left_out("no classes, or nothing held out")
    steps = patient.train.span(len(train)).steps
    steps = min(steps, SHUFFLED_STEPS * (10 if patient.thorough else 1))
    batch = patient.train.per_update(len(train))
    if patient.affordable(batch, steps) < steps:
        return left_out(TOO_LARGE)
    mixed, held = _relabelled(patient, name)
    job = patient.job(patient.network(quiet=False), {"train": mixed, name: held}, steps)
    for _ in losses(job):
        pass
    scored = evaluate(job, name)[f"{name}/accuracy"]
    chance = float(held.y.bincount().max()) / len(held)
    most = chance + 4 * math.sqrt(chance * (1 - chance) / len(held))
    figure, expected = f"accuracy {scored:.3f} on {name}", f"at most {most:.3f}, by chance {chance:.3f}"
    if scored <= most:
        return Outcome("ok", figure, expected)
    told = f"trained on shuffled labels, the network has accuracy {scored:.3f} on {name}, and by chance {chance:.3f}"
    hint = "It has seen those examples: see `leakage`."
    return Outcome("wrong", figure, expected, told, hint, patient.place("data"))


def _relabelled(patient: Patient, name: str) -> tuple[DataPart, DataPart]:
    """The training set and a held-out one with labels drawn anew; equal inputs have equal ones."""
    generator = torch.Generator().manual_seed(patient.train.seed)
    given: dict[bytes, Tensor] = {}
    found = []
    for part in ("train", name):
        x, y = patient.parts[part].x, patient.parts[part].y
        drawn = y[torch.randperm(len(y), generator=generator).to(y.device)]
        keys = fingerprints(x.cpu().numpy())
        labels = torch.stack([given.setdefault(key, label) for key, label in zip(keys, drawn, strict=True)])
        found.append(DataPart(x, labels))
    return found[0], found[1]
