"""Learning rates that decay by a law without an end."""

from __future__ import annotations

from math import exp, sqrt
from typing import ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from .base import Factor, Schedule, Timeline, Unit, power


class Exponential(Schedule):
    """gamma ** time, or e ** (-k * time), which equals it for gamma = e ** -k.

    A gamma above 1 lets the rate grow. torch's ExponentialLR counts the calls of its step(); here `unit` says what is
    counted. Errors: both of gamma and k, or neither. Source: CS231n, section 7.1 (k); torch: ExponentialLR (gamma).
    """

    kind: ClassVar[str] = "exponential"
    gamma: Factor | None = Field(None, description="factor in each `unit` of time; or give `k`")
    k: NonNegativeFloat | None = Field(None, description="rate of decay in each `unit` of time; or give `gamma`")
    unit: Unit = Field("epoch", description="what time counts")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.gamma is None) == (self.k is None):
            raise ValueError("exponential wants `gamma` or `k`: give one of the two")
        return self

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        return exp(-self.k * time) if self.k is not None else power(self.gamma or 1.0, time)


class InverseTime(Schedule):
    """1 / (1 + k * time). Source: CS231n, section 7.1, 1/t decay. Not in torch."""

    kind: ClassVar[str] = "inverse_time"
    k: NonNegativeFloat = Field(1.0, description="rate of decay in each `unit` of time")
    unit: Unit = Field("epoch", description="what time counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        return 1 / (1 + self.k * time)


class InverseSigmoid(Schedule):
    """k / (k + exp(time / k)): near 1 for a while, then falling, and half at k log(k).

    Source: Bengio et al. 2015, arXiv:1506.03099, section 2.4, for the probability of the true token. Not in torch.
    """

    kind: ClassVar[str] = "inverse_sigmoid"
    k: PositiveFloat = Field(ge=1, description="how long it stays near 1, in `unit`s of time")
    unit: Unit = Field("step", description="what time counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        return 1 / (1 + exp(min(time / self.k, 700)) / self.k)


class InverseSqrt(Schedule):
    """1 / sqrt(1 + k * time).

    After a warm-up of W updates, k = 1/W gives sqrt(W / update), the schedule of Vaswani et al. 2017,
    arXiv:1706.03762, equation 3. Not in torch.
    """

    kind: ClassVar[str] = "inverse_sqrt"
    k: NonNegativeFloat = Field(1.0, description="rate of decay in each `unit` of time")
    unit: Unit = Field("step", description="what time counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        return 1 / sqrt(1 + self.k * time)
