"""The learning rate over a whole training, from the spec alone. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..spec import Train

POINTS = 101


@dataclass(frozen=True)
class Point:
    """The learning rate of one update; `step` and `epoch` count from 1, as records do."""

    step: int
    epoch: int
    lr: float


@dataclass(frozen=True)
class Curve:
    """The learning rate at points that lie evenly over a training; the last update is one of them."""

    schedule: str
    steps: int
    steps_per_epoch: int
    follows: str
    """The metric that lowers the rate further while training; empty where none does."""
    points: tuple[Point, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def curve(train: Train, examples: int, points: int = POINTS) -> Curve:
    """The rates of a training on `examples`; where a metric has a say, as if it never stood still."""
    span, schedule = train.span(examples), train.schedule
    count = min(points, span.steps)
    steps = [round(i * (span.steps - 1) / max(1, count - 1)) for i in range(count)]
    watch = schedule.watch()
    return Curve(
        schedule.kind,
        *span,
        watch.metric if watch is not None else "",
        tuple(Point(s + 1, s // span.per_epoch + 1, train.optimizer.lr * schedule.at(s, span)) for s in steps),
    )
