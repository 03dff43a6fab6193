"""Learning rates that move over a given time, by default the whole training."""

from __future__ import annotations

from math import cos, pi
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from .base import Schedule, Timeline, Unit

WHOLE = "how long it takes, in `unit`s; else the whole training"
Share = Annotated[float, Field(ge=0, lt=1)]
LOWEST = "lowest part of the rate; torch's eta_min is a rate"


class Linear(Schedule):
    """Linear from `start_factor` to `end_factor`, then constant.

    torch: LinearLR, whose defaults are a warm-up: 1/3 to 1 in 5 calls. Here they are a decay over the whole training.
    """

    kind: ClassVar[str] = "linear"
    total_iters: PositiveInt | None = Field(None, description=WHOLE)
    start_factor: NonNegativeFloat = Field(1.0, description="part of the rate at the start")
    end_factor: NonNegativeFloat = Field(0.0, description="part of the rate at the end")
    unit: Unit = Field("step", description="what `total_iters` counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, whole = timeline.time(step, self.unit)
        length = self.total_iters or whole
        return self.start_factor + (self.end_factor - self.start_factor) * min(time, length) / length


class Polynomial(Schedule):
    """(1 - time / total_iters) ** power, then 0. torch: PolynomialLR, where total_iters is 5 by default."""

    kind: ClassVar[str] = "polynomial"
    power: PositiveFloat = Field(1.0, description="1 is a straight line")
    total_iters: PositiveInt | None = Field(None, description=WHOLE)
    unit: Unit = Field("step", description="what `total_iters` counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, whole = timeline.time(step, self.unit)
        length = self.total_iters or whole
        return float((1 - min(time, length) / length) ** self.power)


class Cosine(Schedule):
    """Half a cosine wave, from 1 down to `end_factor` at T_max.

    After T_max it rises again, as torch's does. Source: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5,
    without restarts. torch: CosineAnnealingLR.
    """

    kind: ClassVar[str] = "cosine"
    T_max: PositiveInt | None = Field(None, description=WHOLE)
    end_factor: NonNegativeFloat = Field(0.0, description=LOWEST)
    unit: Unit = Field("step", description="what `T_max` counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, whole = timeline.time(step, self.unit)
        return _between(1.0, self.end_factor, time / (self.T_max or whole))


class CosineRestarts(Schedule):
    """Half a cosine wave from 1 down to `end_factor`, repeated, each `T_mult` times as long.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, section 3. torch: CosineAnnealingWarmRestarts.
    """

    kind: ClassVar[str] = "cosine_restarts"
    T_0: PositiveInt = Field(description="how long the first one takes, in `unit`s")
    T_mult: PositiveInt = Field(1, description="how many times as long as the one before each takes")
    end_factor: NonNegativeFloat = Field(0.0, description=LOWEST)
    unit: Unit = Field("epoch", description="what `T_0` counts")

    def at(self, step: int, timeline: Timeline) -> float:
        time, _ = timeline.time(step, self.unit)
        length = self.T_0
        # Without the loop below, which would take a turn for each cycle
        if self.T_mult == 1:
            time %= length
        while time >= length:
            time -= length
            length *= self.T_mult
        return _between(1.0, self.end_factor, time / length)

    @property
    def restarts(self) -> bool:
        return True

    def cycles(self, timeline: Timeline) -> list[int]:
        ends: list[int] = []
        time = length = self.T_0
        while (end := timeline.updates(time) if self.unit == "epoch" else time) <= timeline.steps:
            ends.append(end)
            length *= self.T_mult
            time += length
        return ends


class OneCycle(Schedule):
    """Up from 1/div_factor to the whole rate, then down to 1/(div_factor * final_div_factor).

    The optimizer's rate is torch's max_lr. With `cycle_momentum` the momentum of sgd, or the first beta of Adam and
    its kin, goes the other way: from max_momentum to base_momentum and back; torch does so unless told not to.
    Errors: cycle_momentum with an optimizer that has no momentum.
    Source: Smith & Topin 2018, arXiv:1708.07120. torch: OneCycleLR.
    """

    kind: ClassVar[str] = "one_cycle"
    total_steps: PositiveInt | None = Field(None, description=WHOLE)
    pct_start: Annotated[float, Field(ge=0, le=1)] = Field(0.3, description="share of the time that it goes up")
    anneal_strategy: Literal["cos", "linear"] = Field("cos", description="along a cosine, or straight")
    div_factor: Annotated[float, Field(ge=1)] = Field(25.0, description="whole rate / first rate")
    final_div_factor: PositiveFloat = Field(1e4, description="first rate / last rate")
    three_phase: bool = Field(False, description="down to the first rate in the time it went up, then to the last")
    unit: Unit = Field("step", description="what `total_steps` counts")
    cycle_momentum: bool = Field(False, description="move the momentum too, down while the rate goes up")
    base_momentum: Share = Field(0.85, description="momentum where the rate is largest")
    max_momentum: Share = Field(0.95, description="momentum at the start and at the end")

    @model_validator(mode="after")
    def _momentum_in_order(self) -> Self:
        if self.base_momentum > self.max_momentum:
            raise ValueError(f"base_momentum {self.base_momentum:g} is above max_momentum {self.max_momentum:g}")
        return self

    def at(self, step: int, timeline: Timeline) -> float:
        first = 1 / self.div_factor
        return self._between_turns(step, timeline, (first, 1.0, first, first / self.final_div_factor))

    @property
    def moves_momentum(self) -> bool:
        return self.cycle_momentum

    def momentum(self, step: int, timeline: Timeline) -> float:
        low, high = self.base_momentum, self.max_momentum
        return self._between_turns(step, timeline, (high, low, high, high))

    def _between_turns(self, step: int, timeline: Timeline, values: tuple[float, float, float, float]) -> float:
        """Interpolate between the values at the start, at the maximum, back at the first rate, and at the end."""
        time, whole = timeline.time(step, self.unit)
        total = self.total_steps or whole
        begin, top, back, end_value = values
        # As torch counts: the top is at update pct_start * total - 1, and the last rate that of the last update
        turns = [(0.0, begin), (self.pct_start * total - 1, top), (total - 1.0, end_value)]
        if self.three_phase:
            turns.insert(2, (2 * self.pct_start * total - 2, back))
        index = next((i for i in range(1, len(turns)) if time <= turns[i][0]), len(turns) - 1)
        (start, high), (end, low) = turns[index - 1], turns[index]
        done = (min(time, total - 1) - start) / (end - start) if end != start else 1.0
        return _between(high, low, done) if self.anneal_strategy == "cos" else high + (low - high) * done


def _between(high: float, low: float, done: float) -> float:
    """Interpolate along half a cosine wave."""
    return low + (high - low) * (1 + cos(pi * done)) / 2
