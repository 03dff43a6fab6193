"""Learning-rate schedules: pure functions from time to a factor on the optimizer's rate."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from .registry import Declared, Registry, family

SCHEDULES: Registry[Schedule] = Registry("schedule", "dlx.schedules", "dlx.schedules")


@family(SCHEDULES)
class Schedule(Declared):
    """The root of all schedules."""

    def factor(self, step: int, epoch: int) -> float:
        """What multiplies the learning rate of the update after `step` updates and `epoch` whole epochs."""
        raise TypeError(f"{type(self).__name__} has no factor()")


class Constant(Schedule):
    """The learning rate stays as it is."""

    kind: ClassVar[str] = "constant"

    def factor(self, step: int, epoch: int) -> float:
        return 1.0


class Step(Schedule):
    """Multiply the rate by `gamma` every `step_size` epochs, or steps: gamma ** (time // step_size).

    torch's StepLR counts the calls of its step(); here `unit` says what is counted.
    """

    kind: ClassVar[str] = "step"
    step_size: PositiveInt = Field(description="how long each level lasts, in `unit`s")
    gamma: Annotated[float, Field(gt=0)] = Field(0.1, description="factor at each drop")
    unit: Literal["epoch", "step"] = Field("epoch", description="what `step_size` counts")

    def factor(self, step: int, epoch: int) -> float:
        return float(self.gamma ** ((epoch if self.unit == "epoch" else step) // self.step_size))
