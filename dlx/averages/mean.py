"""Unweighted averages."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from ..schedules import Timeline
from ..utils.exact_fractions import rounded_up
from .base import Average

Start = Annotated[float, Field(ge=0, lt=1)]
START = "share of the training's updates after which it begins"


class Polyak(Average):
    """The plain mean of the weights after every update from `start` on.

    Source: Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging. torch:
    swa_utils.AveragedModel after every update.
    """

    kind: ClassVar[str] = "polyak"
    start: Start = Field(0.0, description=START)

    def share(self, step: int, count: int, timeline: Timeline) -> float | None:
        return 1 / (count + 1) if step >= rounded_up(self.start, timeline.steps) else None


class SWA(Average):
    """Stochastic weight averaging: the plain mean of the weights at `start` and `every` some updates after it.

    The rate has to stay high for it, constant or cyclic; that is for the schedule to say.
    Source: Izmailov et al. 2018, arXiv:1803.05407, algorithm 1. torch: swa_utils.AveragedModel.
    """

    kind: ClassVar[str] = "swa"
    start: Start = Field(0.75, description=START)
    every: PositiveInt | None = Field(None, description="updates between two that count; else an epoch")

    def share(self, step: int, count: int, timeline: Timeline) -> float | None:
        since = step - rounded_up(self.start, timeline.steps)
        return 1 / (count + 1) if since >= 0 and since % (self.every or timeline.per_epoch) == 0 else None
