"""Learning rates that drop at fixed times."""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar

from pydantic import Field, PositiveInt

from .base import Factor, Schedule, Timeline, Unit, power


class Step(Schedule):
    """Multiply the rate by `gamma` every `step_size` epochs, or steps: gamma ** (time // step_size).

    torch's StepLR counts the calls of its step(); here `unit` says what is counted.
    """

    kind: ClassVar[str] = "step"
    step_size: PositiveInt = Field(description="how long each level lasts, in `unit`s")
    gamma: Factor = Field(0.1, description="factor at each drop")
    unit: Unit = Field("epoch", description="what `step_size` counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        return power(self.gamma, time // self.step_size)


class MultiStep(Schedule):
    """Multiply the rate by `gamma` after each of the milestones.

    torch's MultiStepLR counts the calls of its step(); here `unit` says what is counted.
    """

    kind: ClassVar[str] = "multi_step"
    milestones: list[PositiveInt] = Field(min_length=1, description="when it drops, in `unit`s from the start")
    gamma: Factor = Field(0.1, description="factor at each drop")
    unit: Unit = Field("epoch", description="what `milestones` count")

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        return power(self.gamma, bisect_right(sorted(self.milestones), time))
