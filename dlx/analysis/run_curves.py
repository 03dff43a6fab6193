"""Curves of runs as analyses take them: evaluations and losses by step, over runs that have the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Problem
from ..metrics import RUNNING_LOSS
from ..runs.folder import RunFolder
from ..runs.records import with_current_names


@dataclass(frozen=True)
class Curve:
    """Values by step."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


def curve(run: RunFolder, name: str) -> Curve:
    """Return a metric of a run as it was recorded on the way, `valid/error` or `train/running_loss`."""
    wanted = "step" if name == RUNNING_LOSS else "evaluation"
    found: dict[int, float] = {}
    for record in run.records():
        if record["record"] != wanted:
            continue
        metrics = with_current_names(record["metrics"])
        if name in metrics:  # a run that was resumed may have a step twice: the later record is what it went on with
            found[record["step"]] = metrics[name]
    steps = sorted(found)
    return Curve(tuple(steps), tuple(found[step] for step in steps))


def common(curves: Sequence[Curve]) -> tuple[list[int], list[list[float]]]:
    """Return the steps that all curves have, and the values of each curve there."""
    shared = sorted(set.intersection(*(set(one.steps) for one in curves)))
    each = [dict(zip(one.steps, one.values, strict=True)) for one in curves]
    return shared, [[by_step[step] for step in shared] for by_step in each]


def without_curve(runs: Sequence[RunFolder], name: str) -> list[Problem]:
    """Return a problem for each run that did not record a metric twice on the way."""
    found = []
    for run in runs:
        if len(curve(run, name).steps) > 1:
            continue
        known = sorted({k for record in run.records() if record["record"] == "evaluation" for k in record["metrics"]})
        hint = (
            f"It has {', '.join(known)}; `train.evaluate_every` says how often."
            if known
            else "Give its data a validation part, `valid: 0.1`, and train it again."
        )
        found.append(Problem(f"{run.key} has no curve of {name}", hint))
    return found
