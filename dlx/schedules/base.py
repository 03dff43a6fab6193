"""The base class of schedules: a pure function from the number of an update to a factor on the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor, inf
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field

from ..registry import FAMILIES, Declared, Registry, family

SCHEDULES: Registry[Schedule] = FAMILIES["schedule"]
Unit = Literal["epoch", "step"]
Factor = Annotated[float, Field(gt=0)]
LOWEST_RATES = ("eta_min", "min_lr", "lr_min", "end_lr", "final_lr")
"""What other tools call the rate that a schedule ends at, where dlx has a factor."""


class Timeline(NamedTuple):
    """Length of a training in updates, and the number of updates per epoch.

    Attributes:
        steps: updates of the whole training.
        per_epoch: updates of an epoch at the start.
        later: where the batch size grows, pairs of an update and the number of updates per epoch after it.
    """

    steps: int
    per_epoch: int
    later: tuple[tuple[int, int], ...] = ()

    def time(self, step: int, unit: Unit) -> tuple[int, int]:
        """Return the time after `step` updates and the length of the training, both in `unit`.

        Epochs are whole: finished ones for the time, begun ones for the length.
        """
        if unit == "step":
            return step, self.steps
        return floor(self.epochs(step)), ceil(self.epochs(self.steps))

    def epochs(self, step: int) -> Fraction:
        """Return the epochs passed after `step` updates, as an exact fraction."""
        # Exact: a float could fall short of a whole epoch, which `time` rounds down
        passed, begun, per_epoch = Fraction(0), 0, self.per_epoch
        for first, fewer in self.later:
            if step <= first:
                break
            passed, begun, per_epoch = passed + Fraction(first - begun, per_epoch), first, fewer
        return passed + Fraction(step - begun, per_epoch)

    def updates(self, epochs: int) -> int:
        """Return the number of updates in the first `epochs` epochs."""
        left, begun, per_epoch = Fraction(epochs), 0, self.per_epoch
        for first, fewer in self.later:
            whole = Fraction(first - begun, per_epoch)
            if left <= whole:
                break
            left, begun, per_epoch = left - whole, first, fewer
        return begun + ceil(left * per_epoch)

    def rest(self, step: int) -> Timeline:
        """Return the timeline of the updates after the first `step` ones."""
        per_epoch = next((fewer for first, fewer in reversed(self.later) if first <= step), self.per_epoch)
        later = tuple((first - step, fewer) for first, fewer in self.later if first > step)
        return Timeline(max(0, self.steps - step), per_epoch, later)


class Watch(Protocol):
    """Follows a metric during training, and sets a `factor` on the learning rate beside that of the schedule."""

    metric: str
    mode: Literal["min", "max"] | None
    """Whether smaller ("min") or larger ("max") values are better; None until the mode of the metric is known."""
    factor: float

    def update(self, value: float) -> None:
        """Take the value of `metric` at an evaluation."""

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""


@family(SCHEDULES)
class Schedule(Declared):
    """Base class of all schedules.

    A subclass has a `kind`, pydantic fields, and `at`. Defining the class registers it.
    """

    required = ("at",)

    @classmethod
    def hint_beside(cls, name: str, fields: Mapping[str, Any], by_override: bool = False) -> str:
        if name not in LOWEST_RATES or "end_factor" not in cls.model_fields:
            return super().hint_beside(name, fields, by_override)
        value = fields.get(name)
        rate = value if isinstance(value, int | float) else name
        return f"Did you mean `end_factor`? It is a factor of the optimizer's `lr`: {rate} / lr."

    def at(self, step: int, timeline: Timeline) -> float:
        """Return the factor on the learning rate of the update number `step`, which counts from 0."""
        raise TypeError(f"{type(self).__name__} has no at()")

    @property
    def moves_momentum(self) -> bool:
        """Whether the schedule also sets the optimizer's momentum."""
        return False

    def momentum(self, step: int, timeline: Timeline) -> float:
        """Return the momentum, or Adam's first beta, of the update number `step`, which counts from 0."""
        raise TypeError(f"{type(self).__name__} moves no momentum")

    @property
    def restarts(self) -> bool:
        """Whether the schedule has cycles."""
        return False

    def cycles(self, timeline: Timeline) -> list[int]:
        """Return the numbers of updates after which a cycle ends, within the training."""
        return []

    def watch(self) -> Watch | None:
        """Return a new `Watch` for a schedule that depends on a metric; None for others."""
        return None


def power(base: float, times: int) -> float:
    """Return base ** times, or inf where that overflows a float."""
    try:
        return float(base**times)
    except OverflowError:
        return inf
