"""Checks by short trainings: overfitting of a batch, learning rates, shuffled labels."""

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
from .check import CheckOutcome, check, not_run
from .checks_data import fingerprints
from .probe import Probe, losses

if TYPE_CHECKING:
    from torch import Tensor

BY_HEART, STEPS = 20, 500
"""Number of examples to overfit, and of updates for it."""
NEARLY_ZERO = 0.05
"""Fraction of the uninformed loss at which a batch counts as learned."""
LOWEST, HIGHEST, RATES = 1e-6, 10.0, 140
SMOOTHING = 0.8
RATES_TRIED, STEPS_PER_RATE, END_STEPS, ADAM_RATE = (1e-4, 1e-3, 1e-2, 1e-1, 1.0), 250, 20, 1e-2
"""Rates tried one by one; updates at each; losses averaged for its start and its end; the rate of Adam."""
MIXED = {"accumulate": 1, "shuffle": True}
"""Settings for comparable batch losses: in file order, batches may differ more than training changes the loss."""
LEARNED = 0.98
"""Fraction of the loss of the best constant output: a lower loss has learned from the inputs."""
SHUFFLED_STEPS = 300
BARS = "▁▂▃▄▅▆▇█"
TOO_LARGE = "too large for seconds: --thorough"


# ---- overfit a batch -----------------------------------------------------------------------------------------


@check("overfit a batch")
def overfit(probe: Probe) -> CheckOutcome:
    """Check that a few examples can be overfitted, by the spec's optimizer or at least by Adam."""
    part = probe.examples(BY_HEART)
    steps = probe.affordable_steps(len(part), STEPS)
    if steps < min(STEPS, 100):
        return not_run(TOO_LARGE)
    uninformed = probe.uninformed_loss(part)
    goal = NEARLY_ZERO * abs(uninformed)
    curve = _losses_until(probe, part, steps, goal, probe.unregularized.train.optimizer)
    expected = f"below {goal:.2g} within {steps} steps, {len(part)} samples"
    figure = f"{curve[-1]:.2g} after {len(curve)} steps"
    if curve[-1] <= goal:
        return CheckOutcome("ok", figure, expected)
    other = _losses_until(probe, part, steps, goal, Adam())
    verdict, finding, hint = _explain_failure(probe, curve, other, uninformed, goal)
    mark = probe.place("network") if hint in (CANNOT, SMALL) else probe.place("train", "optimizer")
    return CheckOutcome(verdict, figure, expected, finding, hint, mark)


def _losses_until(probe: Probe, part: DataPart, steps: int, goal: float, optimizer: Any) -> list[float]:
    """Return the losses of a training, up to the first that reaches the goal."""
    settings = {"batch_size": len(part), "accumulate": 1, "optimizer": optimizer, "groups": []}
    if optimizer.takes != "gradient":
        # such an update costs several evaluations of the loss
        steps = min(steps, 20)
    found: list[float] = []
    for loss in losses(probe.unregularized.job(probe.network(), {"train": part}, steps, **settings)):
        found.append(loss)
        if loss <= goal:
            break
    return found


SMALL = "With units enough, and at a rate that fits, examples are learned by heart: see `learning rates`."
CANNOT = "What cannot learn a few examples learns nothing from many: look at the other findings, or widen it."


def _explain_failure(
    probe: Probe, curve: Sequence[float], other: Sequence[float], uninformed: float, goal: float
) -> tuple[Any, str, str]:
    """Return verdict, finding and hint where the batch was not overfitted."""
    kind, lr = probe.train.optimizer.kind, probe.train.optimizer.lr
    first, last, adam_learns = curve[0], curve[-1], other[-1] <= goal
    how = f"{kind} with lr {lr:g}"
    adam = f"adam with 1e-3 gets to {other[-1]:.2g}"
    if probe.train.optimizer.takes != "gradient" and not math.isfinite(last):
        finding = f"{how} has no finite loss after update {len(curve) - 1}; {adam}"
        return "wrong", finding, f"{kind} cannot make that step: `dlx train` tells why."
    if not math.isfinite(last) or max(curve) > 3 * first + 1:
        finding = f"{how} brings the loss from {first:.3g} up to {max(map(_finite, curve)):.3g}; {adam}"
        return "wrong", finding, "The learning rate is too large: see `learning rates` for one that fits."
    if adam_learns and last > 0.9 * first:
        finding = f"{how} leaves the loss at {last:.3g} of {first:.3g} after {len(curve)} steps; {adam}"
        return "wrong", finding, "The learning rate is too small: see `learning rates` for one that fits."
    if adam_learns:
        finding = f"{how} is on its way after {len(curve)} steps, from {first:.3g} to {last:.3g}; {adam}"
        return "look", finding, "A larger learning rate may be quicker."
    best = min(_finite(last), _finite(other[-1]))
    if best > 0.9 * abs(uninformed):
        is_that = "which is that" if best <= 1.1 * abs(uninformed) else "worse than that"
        finding = f"the loss stays at {best:.3g}, {is_that} of knowing nothing ({uninformed:.3g}); {adam}"
        return "wrong", finding, CANNOT
    finding = f"the loss gets from {first:.3g} to {best:.3g} in {len(curve)} steps, not to {goal:.2g}; {adam}"
    return "look", finding, SMALL


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


# ---- learning rates ------------------------------------------------------------------------------------------


@check("learning rates")
def learning_rates(probe: Probe) -> CheckOutcome:
    """Check the learning rate by a range test: the loss while the rate grows exponentially.

    Twenty updates at each order of magnitude miss networks that start slowly, as recurrent ones do, and a rate that
    is fine for twenty may diverge later: where the test contradicts the spec's rate, longer trainings at a few rates
    decide.

    Source: Smith 2017, arXiv:1506.01186, section 3.3.
    """
    train = probe.train
    batch = min(train.per_update(len(probe.parts["train"])), 128)
    if train.optimizer.takes != "gradient":
        return not_run(f"{train.optimizer.kind} takes steps of its own")
    if probe.affordable_steps(batch, RATES) < RATES:
        return not_run(TOO_LARGE)
    rates, curve = _sweep_rates(probe, batch)
    low, high, breaks = range_of(rates, curve)
    lr, line = train.optimizer.lr, sparkline(smoothed(curve))
    learns = bool(high) and min(smoothed(curve)) < LEARNED * probe.constant_loss
    if learns and low / 10 <= lr <= high * 3 and not (breaks and lr >= breaks):
        return CheckOutcome("ok", f"{low:.1g} to {high:.1g}  {line}", f"lr {lr:g} near them")
    tried = {lr, low, math.sqrt(low * high), high} if learns else {lr, *RATES_TRIED}
    steps = probe.affordable_steps(batch, len(tried) * STEPS_PER_RATE, len(tried)) // len(tried)
    if steps < END_STEPS:
        return not_run(TOO_LARGE)
    found = {rate: _try_rate(probe, batch, steps, train.optimizer, rate) for rate in sorted(tried)}
    return _compare_rates(probe, found, batch, line)


def _compare_rates(probe: Probe, found: dict[float, list[float]], batch: int, line: str) -> CheckOutcome:
    """Judge the spec's learning rate by short trainings at several rates."""
    lr, place, steps = probe.train.optimizer.lr, probe.place("train", "optimizer"), len(found[min(found)])
    early = found[min(found)][:END_STEPS]
    start = statistics.fmean(early)
    noise = statistics.pstdev(early) + 0.01 * abs(start)
    ends = {rate: _end(curve) for rate, curve in found.items()}
    best = min(ends, key=ends.__getitem__)
    fell, own, goal = start - ends[best], start - ends[lr], LEARNED * probe.constant_loss
    if not fell > noise or ends[best] > goal:
        below = f" below {probe.constant_loss:.3g}, that of one answer for all," if fell > noise else ""
        message = f"the loss falls{below} at no rate: tried {', '.join(f'{rate:.2g}' for rate in found)}, "
        adam = _end(_try_rate(probe, batch, steps, Adam(), ADAM_RATE))
        helps = start - adam > noise and adam <= goal
        hint = (
            f"`optimizer: {{adam: {ADAM_RATE:g}}}` brings it to {adam:.3g}."
            if helps
            else "Another network or initialisation may learn."
        )
        return CheckOutcome(
            "look", line, "a rate at which the loss falls", f"{message}{steps} updates each", hint, place
        )
    figure, expected = f"{start:.3g} to {ends[lr]:.3g} in {steps} updates  {line}", f"about {ends[best]:.3g}"
    if own >= fell / 2:
        return CheckOutcome("ok", figure, expected)
    way = "up" if own < -noise else "only"
    message = f"lr {lr:g} brings the loss {way} from {start:.3g} to {ends[lr]:.3g} in {steps} updates"
    message += f", and lr {best:.2g} to {ends[best]:.3g}"
    return CheckOutcome(
        "wrong" if own < -noise else "look", figure, expected, message, f"Write `lr: {best:.2g}`.", place
    )


def _end(curve: Sequence[float]) -> float:
    """Return the mean of the last few losses; infinite where one is not finite."""
    return statistics.fmean(map(_finite, curve[-END_STEPS:]))


def _try_rate(probe: Probe, batch: int, steps: int, optimizer: Optimizer, rate: float) -> list[float]:
    """Return the losses of a short training at one rate."""
    changes = {**MIXED, "batch_size": batch, "optimizer": optimizer.model_copy(update={"lr": rate})}
    return list(losses(probe.job(probe.network(), {"train": probe.parts["train"]}, steps, **changes)))


def _sweep_rates(probe: Probe, batch: int) -> tuple[list[float], list[float]]:
    """Return rates from LOWEST on and the loss after an update at each, until the loss diverges."""
    growth = (HIGHEST / LOWEST) ** (1 / (RATES - 1))
    optimizer = probe.train.optimizer.model_copy(update={"lr": LOWEST})
    changes = {**MIXED, "batch_size": batch, "optimizer": optimizer}
    job = probe.job(probe.network(), {"train": probe.parts["train"]}, RATES + 1, **changes)
    found: list[float] = []
    for loss in losses(job):
        found.append(loss)
        for group in job.supervised.optimizer.param_groups:
            group["lr"] *= growth
        if not math.isfinite(loss) or loss > 10 * found[0] + 1:
            break
    after = found[1:]  # `losses` has the loss before each update: that after the update before it
    return [LOWEST * growth**k for k in range(len(after))], after


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the exponential moving average, corrected for the bias of its start."""
    mean, found = 0.0, []
    for count, value in enumerate(values, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * min(_finite(value), 1e30)
        found.append(mean / (1 - SMOOTHING**count))
    return found


def range_of(rates: Sequence[float], losses: Sequence[float]) -> tuple[float, float, float]:
    """Return the rates at which the loss begins to fall, has nearly stopped, and exceeds its start again (else 0).

    All three are 0 where it falls by no more than the batches differ at tiny rates.
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
    """Draw a curve as one line of block characters, scaled to its first values."""
    picked = [curve[round(i * (len(curve) - 1) / (width - 1))] for i in range(width)] if curve else []
    low, top = min(picked, default=0.0), max(picked[:3], default=1.0)
    span = max(top - low, 1e-30)
    return "".join(BARS[min(7, round((value - low) / span * 7))] for value in picked)


# ---- shuffled labels -----------------------------------------------------------------------------------------


@check("shuffled labels")
def shuffled_labels(probe: Probe) -> CheckOutcome:
    """Check that a network trained on shuffled labels only guesses; more accuracy comes from leaked examples."""
    train, name = probe.parts["train"], "valid" if "valid" in probe.parts else "test"
    if probe.facts.classes is None or train.y.dim() != 1 or name not in probe.parts:
        return not_run("no classes, or nothing held out")
    steps = probe.train.span(len(train)).steps
    steps = min(steps, SHUFFLED_STEPS * (10 if probe.thorough else 1))
    batch = probe.train.per_update(len(train))
    if probe.affordable_steps(batch, steps) < steps:
        return not_run(TOO_LARGE)
    mixed, held = _shuffle_labels(probe, name)
    job = probe.job(probe.network(quiet=False), {"train": mixed, name: held}, steps)
    for _ in losses(job):
        pass
    scored = evaluate(job, name)[f"{name}/accuracy"]
    baseline = float(held.y.bincount().max()) / len(held)
    # the accuracy of guessing is binomial: four standard deviations above it are no accident
    most = baseline + 4 * math.sqrt(baseline * (1 - baseline) / len(held))
    figure, expected = f"accuracy {scored:.3f} on {name}", f"at most {most:.3f}, by chance {baseline:.3f}"
    if scored <= most:
        return CheckOutcome("ok", figure, expected)
    finding = (
        f"trained on shuffled labels, the network has accuracy {scored:.3f} on {name}, and by chance {baseline:.3f}"
    )
    hint = "It has seen those examples: see `leakage`."
    return CheckOutcome("wrong", figure, expected, finding, hint, probe.place("data"))


def _shuffle_labels(probe: Probe, name: str) -> tuple[DataPart, DataPart]:
    """Return the training set and a held-out one with shuffled labels; equal inputs have equal labels."""
    generator = torch.Generator().manual_seed(probe.train.seed)
    label_of: dict[bytes, Tensor] = {}
    found = []
    for part in ("train", name):
        whole = probe.parts[part]
        y, inputs = whole.y, [whole.more.get(one, whole.x) for one in whole.names.inputs]
        shuffled = y[torch.randperm(len(y), generator=generator).to(y.device)]
        keys = fingerprints([x.cpu().numpy() for x in inputs])
        # a copy of a training example gets its label, so that the network can know it: that is the leak
        labels = torch.stack([label_of.setdefault(key, label) for key, label in zip(keys, shuffled, strict=True)])
        found.append(whole.changed(**{whole.names.targets[0]: labels}))
    return found[0], found[1]
