"""The learning rate over a whole training, with batch size and momentum, from the spec alone. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..schedules import Timeline
from ..spec import Train

POINTS = 101


@dataclass(frozen=True)
class Point:
    """One update; `step` and `epoch` count from 1, as records do. `momentum` is None where the schedule leaves it."""

    step: int
    epoch: int
    lr: float
    batch_size: int
    momentum: float | None = None


@dataclass(frozen=True)
class ScheduleCurve:
    """The learning rate at points that lie evenly over a training; the last update is one of them."""

    schedule: str
    steps: int
    steps_per_epoch: int
    follows: str
    """The metric that lowers the rate further while training; empty where none does."""
    points: tuple[Point, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def curve(train: Train, examples: int, points: int = POINTS, span: Timeline | None = None) -> ScheduleCurve:
    """Return the rates of a training on `examples`, as if a metric that lowers the rate always improved.

    `span` is for steps that take other examples than one batch each.
    """
    span, schedule = span or train.span(examples), train.schedule
    count = min(points, span.steps)
    steps = [round(i * (span.steps - 1) / max(1, count - 1)) for i in range(count)]
    watch = schedule.watch()
    return ScheduleCurve(
        schedule.kind,
        span.steps,
        span.per_epoch,
        watch.metric if watch is not None else "",
        tuple(_point(train, s, span, examples) for s in steps),
    )


def _point(train: Train, step: int, span: Timeline, examples: int) -> Point:
    epoch, _ = span.time(step, "epoch")
    momentum = train.schedule.momentum(step, span) if train.schedule.moves_momentum else None
    rate = train.optimizer.lr * train.schedule.at(step, span)
    return Point(step + 1, epoch + 1, rate, train.per_update(examples, epoch), momentum)
