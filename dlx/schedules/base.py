"""What every schedule is: a pure function from an update to a factor on the optimizer's rate."""

from __future__ import annotations

from math import ceil
from typing import Any, Literal, NamedTuple, Protocol

from ..registry import Declared, Registry, family

SCHEDULES: Registry[Schedule] = Registry("schedule", "dlx.schedules", "dlx.schedules")
Unit = Literal["epoch", "step"]


class Span(NamedTuple):
    """A training as a schedule sees it: its updates, and how many of them make an epoch."""

    steps: int
    per_epoch: int

    def time(self, step: int, unit: Unit) -> tuple[int, int]:
        """What has passed after `step` updates, and what there is in all: updates, or epochs, of which whole ones."""
        if unit == "step":
            return step, self.steps
        return step // self.per_epoch, ceil(self.steps / self.per_epoch)


class Watch(Protocol):
    """What follows a metric while training: `factor` comes on top of the schedule's own."""

    metric: str
    factor: float

    def see(self, value: float) -> None:
        """Take in what an evaluation gave for `metric`."""

    def state(self) -> dict[str, Any]:
        """All it remembers, as JSON has it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


@family(SCHEDULES)
class Schedule(Declared):
    """The root of all schedules."""

    def at(self, step: int, span: Span) -> float:
        """What multiplies the learning rate of the update that comes after `step` updates."""
        raise TypeError(f"{type(self).__name__} has no at()")

    def watch(self) -> Watch | None:
        """A new follower of a metric, where the rate depends on one."""
        return None
