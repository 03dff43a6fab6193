"""What every schedule is: a pure function from an update to a factor on the optimizer's rate."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, inf
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field

from ..registry import FAMILIES, Declared, Registry, family

SCHEDULES: Registry[Schedule] = FAMILIES["schedule"]
Unit = Literal["epoch", "step"]
Factor = Annotated[float, Field(gt=0)]


class Timeline(NamedTuple):
    """A training as a schedule sees it: its updates, and how many of them make an epoch.

    Where batches grow, `later` has the updates after which an epoch has fewer, and how many it has then.
    """

    steps: int
    per_epoch: int
    later: tuple[tuple[int, int], ...] = ()

    def time(self, step: int, unit: Unit) -> tuple[int, int]:
        """What has passed after `step` updates, and what there is in all: updates, or epochs, of which whole ones."""
        if unit == "step":
            return step, self.steps
        return floor(self.epochs(step)), ceil(self.epochs(self.steps))

    def epochs(self, step: int) -> Fraction:
        """Epochs that have passed after `step` updates."""
        passed, begun, per_epoch = Fraction(0), 0, self.per_epoch
        for first, fewer in self.later:
            if step <= first:
                break
            passed, begun, per_epoch = passed + Fraction(first - begun, per_epoch), first, fewer
        return passed + Fraction(step - begun, per_epoch)

    def updates(self, epochs: int) -> int:
        """Updates that the first `epochs` epochs have."""
        left, begun, per_epoch = Fraction(epochs), 0, self.per_epoch
        for first, fewer in self.later:
            whole = Fraction(first - begun, per_epoch)
            if left <= whole:
                break
            left, begun, per_epoch = left - whole, first, fewer
        return begun + ceil(left * per_epoch)

    def rest(self, step: int) -> Timeline:
        """What comes after `step` updates, as a training of its own."""
        per_epoch = next((fewer for first, fewer in reversed(self.later) if first <= step), self.per_epoch)
        later = tuple((first - step, fewer) for first, fewer in self.later if first > step)
        return Timeline(max(0, self.steps - step), per_epoch, later)


class Watch(Protocol):
    """What follows a metric while training: `factor` comes on top of the schedule's own."""

    metric: str
    mode: Literal["min", "max"] | None
    """What is better: less, or more. None where the metric decides, which then is said before training begins."""
    factor: float

    def update(self, value: float) -> None:
        """Take in what an evaluation gave for `metric`."""

    def state(self) -> dict[str, Any]:
        """All it remembers, as JSON has it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


@family(SCHEDULES)
class Schedule(Declared):
    """The root of all schedules."""

    def at(self, step: int, timeline: Timeline) -> float:
        """What multiplies the learning rate of the update that comes after `step` updates."""
        raise TypeError(f"{type(self).__name__} has no at()")

    @property
    def moves_momentum(self) -> bool:
        """Whether the optimizer's momentum follows it too."""
        return False

    def momentum(self, step: int, timeline: Timeline) -> float:
        """The momentum, or Adam's first beta, of the update that comes after `step` updates."""
        raise TypeError(f"{type(self).__name__} moves no momentum")

    @property
    def restarts(self) -> bool:
        """Whether it goes in cycles."""
        return False

    def cycles(self, timeline: Timeline) -> list[int]:
        """The updates after which a cycle has ended, within the training."""
        return []

    def watch(self) -> Watch | None:
        """A new follower of a metric, where the rate depends on one."""
        return None


def power(base: float, times: int) -> float:
    """base ** times; inf where that is too large for a float."""
    try:
        return float(base**times)
    except OverflowError:
        return inf
