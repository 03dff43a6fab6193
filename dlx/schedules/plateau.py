"""A learning rate that drops where a metric stops improving."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from ..metrics import MONITORED_METRIC, MonitoredMetric
from .base import Schedule, Timeline, Watch


class Plateau(Schedule):
    """Multiply the rate by `factor` where a metric has not improved for more than `patience` evaluations.

    What is counted are evaluations: an epoch each, unless `evaluate_every` says otherwise. The one schedule that
    remembers: what it has seen is saved with a checkpoint. torch: ReduceLROnPlateau, whose min_lr is a rate and not a
    part of it, and which leaves out drops below 1e-8. Errors: a metric that evaluations do not give.
    """

    kind: ClassVar[str] = "plateau"
    metric: MonitoredMetric = Field("valid/loss", description=MONITORED_METRIC)
    mode: Literal["min", "max"] | None = Field(
        None, description="what is better: less, or more; else as the metric is, and torch's is min"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="factor at each drop")
    patience: NonNegativeInt = Field(10, description="evaluations without an improvement that are put up with")
    threshold: NonNegativeFloat = Field(1e-4, description="an improvement is at least this much")
    threshold_mode: Literal["rel", "abs"] = Field("rel", description="`threshold` is a share of the best, or a value")
    cooldown: NonNegativeInt = Field(0, description="evaluations after a drop that do not count")
    min_factor: Annotated[float, Field(ge=0, le=1)] = Field(0, description="smallest part of the rate")

    def at(self, step: int, timeline: Timeline) -> float:
        return 1.0

    def watch(self) -> Watch:
        return PlateauState(self)

    def better(self, value: float, best: float | None, mode: str) -> bool:
        """Whether `value` improves on `best` by the threshold; a NaN never does, nor an infinity on no best."""
        sign = 1 if mode == "max" else -1
        best = -sign * inf if best is None else best
        bar = best * (1 + sign * self.threshold) if self.threshold_mode == "rel" else best + sign * self.threshold
        return value > bar if mode == "max" else value < bar


class PlateauState:
    """State of a plateau schedule."""

    def __init__(self, plateau: Plateau) -> None:
        self.plateau = plateau
        self.metric, self.mode = plateau.metric, plateau.mode
        self.factor = 1.0
        self.best: float | None = None
        self.bad = 0
        """Consecutive evaluations without an improvement."""
        self.rest = 0
        """Evaluations of the cooldown that are still to come."""

    def update(self, value: float) -> None:
        if self.plateau.better(value, self.best, self.mode or "min"):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        # In the order of ReduceLROnPlateau: an evaluation within the cooldown clears the count of bad ones
        if self.rest:
            self.rest, self.bad = self.rest - 1, 0
        if self.bad > self.plateau.patience:
            self.factor = max(self.factor * self.plateau.factor, self.plateau.min_factor)
            self.rest, self.bad = self.plateau.cooldown, 0

    def state(self) -> dict[str, Any]:
        return {"factor": self.factor, "best": self.best, "bad": self.bad, "rest": self.rest}

    def restore(self, state: dict[str, Any]) -> None:
        self.factor, self.best, self.bad, self.rest = (state[name] for name in ("factor", "best", "bad", "rest"))
