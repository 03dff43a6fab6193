"""Linear warm-up before another schedule."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from ..registry import Choice
from .base import SCHEDULES, Schedule, Timeline, Watch


class Warmup(Schedule):
    """Linear warm-up to the whole rate, update by update, then another schedule, whose time starts there.

    For the schedule after it, the training is as long as what is left. torch: SequentialLR of a LinearLR and another.
    Errors: both of steps and epochs, or neither. Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2.
    """

    kind: ClassVar[str] = "warmup"
    steps: PositiveInt | None = Field(None, description="updates that it takes; or give `epochs`")
    epochs: PositiveInt | None = Field(None, description="epochs that it takes; or give `steps`")
    start_factor: NonNegativeFloat = Field(0.01, description="part of the rate at the first update")
    then: Annotated[Schedule, Choice(SCHEDULES)] = Field(
        default_factory=SCHEDULES.new("constant"), description="what comes after it"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("warmup lasts `steps: N` or `epochs: N`: give one of the two")
        return self

    def at(self, step: int, timeline: Timeline) -> float:
        length = self.length(timeline)
        if step < length:
            return self.start_factor + (1 - self.start_factor) * step / length
        return self.then.at(step - length, self._after(timeline))

    def length(self, timeline: Timeline) -> int:
        """Return the number of updates of the warm-up."""
        return self.steps or timeline.updates(self.epochs or 0)

    def _after(self, timeline: Timeline) -> Timeline:
        rest = timeline.rest(self.length(timeline))
        return rest._replace(steps=max(1, rest.steps))

    @property
    def moves_momentum(self) -> bool:
        return self.then.moves_momentum

    def momentum(self, step: int, timeline: Timeline) -> float:
        return self.then.momentum(max(0, step - self.length(timeline)), self._after(timeline))

    @property
    def restarts(self) -> bool:
        return self.then.restarts

    def cycles(self, timeline: Timeline) -> list[int]:
        length = self.length(timeline)
        return [length + end for end in self.then.cycles(timeline.rest(length))]

    def watch(self) -> Watch | None:
        return self.then.watch()
