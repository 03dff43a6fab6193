"""Generated series whose best forecast is known: autoregressive processes, and seasons with a trend."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ...lazy import np
from ..series.base import SeriesData
from ..series.content import SeriesRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..preprocess.sums import Doubles

WARM_UP = 1000
"""Values that are drawn before those of a process, so that it has forgotten its start."""


class ARProcess(SeriesData):
    """An autoregressive process: y(t) = c1 y(t - 1) + ... + ck y(t - k) + e(t), with normal e of deviation `std`.

    Fields: those of `series`, with one value. No forecast of one step has a smaller mean squared error than std^2.
    With `pad` least squares on all windows is the Yule-Walker estimate, with autocovariances divided by the number of
    values: the mean is taken off, and the series stands between zeros.
    Errors: coefficients of a process that is not stationary; `pad` beside parts that are held out, or a scale.
    Source: Box, Jenkins, Reinsel & Ljung, Time Series Analysis, 5th edition, section 3.2; Makhoul 1975, Linear
        prediction: a tutorial review, section II, for `pad`: the autocorrelation method.
    """

    kind: ClassVar[str] = "ar_process"
    coefficients: list[float] = Field([1.5, -0.75], min_length=1, description="c1 to ck, of the last value first")
    std: PositiveFloat = Field(1.0, description="standard deviation of the noise e")
    length: PositiveInt = Field(2000, le=10_000_000, description="values of the series")
    window: PositiveInt = Field(2, description="values of the past that an example has")
    pad: bool = Field(False, description="take off the mean, and put `window` zeros before and after the series")
    seed: NonNegativeInt = Field(0, description="of the noise")

    source: ClassVar[str] = "a generated series"

    @classmethod
    def first_field(cls) -> str:
        return "coefficients"

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        order = len(self.coefficients)
        companion = np.zeros((order, order))
        companion[0], companion[1:, :-1] = self.coefficients, np.eye(order - 1)
        if (largest := float(np.abs(np.linalg.eigvals(companion)).max())) >= 1:
            raise ValueError(
                f"the process of {self.coefficients} is not stationary: its values grow by {largest:.4g} a step"
            )
        for name in ("valid", "test"):
            if self.pad and getattr(self, name):
                raise ValueError(f"`pad` is of the whole series, and `{name}` holds a part of it out: drop one")
        if self.pad and self.standardize != "none":
            raise ValueError("`pad` takes off the mean, and `standardize` does so too: drop one")
        return self

    @property
    def forecast(self) -> list[str]:
        return ["y"]

    def content(self) -> SeriesRows:
        noise = np.random.default_rng(self.seed).standard_normal(WARM_UP + self.length) * self.std
        values = _filtered(noise.tolist(), self.coefficients)[WARM_UP:]
        y = np.array(values)
        if self.pad:
            zeros = np.zeros(self.window)
            y = np.concatenate([zeros, y - y.mean(), zeros])
        return rows_in_order([""], y[:, None, None], np.zeros((len(y), 1, 0)))


def _filtered(noise: Sequence[float], coefficients: Sequence[float]) -> list[float]:
    """Return y(t) = c1 y(t - 1) + ... + e(t), zeros before the first value."""
    values = [0.0] * len(coefficients)
    for e in noise:
        values.append(e + sum(c * values[-i] for i, c in enumerate(coefficients, 1)))
    return values[len(coefficients) :]


class SeasonalSeries(SeriesData):
    """Series of a level, a trend, a season that is a sine, events that are known ahead, and normal noise.

    y(t) = level + trend t + amplitude sin(2 pi t / period + phase) + effect event(t) + e(t). Level and phase of each
    series are uniform, in 0 to 10 and in a whole turn; an event is 1 with the probability `events`, else 0.
    Fields: those of `series`, with one value and one column that is known ahead. No forecast has a smaller root mean
        squared error than `noise`, the standard deviation of e.
    Errors: none of its own.
    """

    kind: ClassVar[str] = "seasonal_series"
    length: PositiveInt = Field(700, le=10_000_000, description="values of each series")
    series: PositiveInt = Field(1, le=10_000_000, description="how many series")
    trend: float = Field(0.02, description="what is added a step")
    amplitude: NonNegativeFloat = Field(3.0, description="of the season")
    period: PositiveInt = Field(7, description="steps of a season")
    effect: float = Field(4.0, description="what an event adds")
    events: float = Field(0.1, ge=0, le=1, description="probability of an event in each step")
    noise: NonNegativeFloat = Field(1.0, description="standard deviation of the noise")
    seed: NonNegativeInt = Field(0, description="of all that is drawn")

    source: ClassVar[str] = "generated series"

    @classmethod
    def first_field(cls) -> str:
        return "length"

    @property
    def forecast(self) -> list[str]:
        return ["y"]

    @property
    def known_ahead(self) -> list[str]:
        return ["event"]

    def content(self) -> SeriesRows:
        rng = np.random.default_rng(self.seed)
        level, phase = rng.uniform(0, 10, self.series), rng.uniform(0, 2 * np.pi, self.series)
        t = np.arange(self.length)[:, None]
        event = (rng.random((self.length, self.series)) < self.events).astype(np.float64)
        season = self.amplitude * np.sin(2 * np.pi * t / self.period + phase)
        noise = self.noise * rng.standard_normal((self.length, self.series))
        y = level + self.trend * t + season + self.effect * event + noise
        names = [""] if self.series == 1 else [f"series_{i}" for i in range(self.series)]
        return rows_in_order(names, y[:, :, None], event[:, :, None])


def rows_in_order(names: Sequence[str], past: Doubles, known: Doubles) -> SeriesRows:
    """Return series (length, series, columns) as rows, one series after the other."""
    length, count = past.shape[:2]
    rows = tuple(np.arange(length) + i * length for i in range(count))
    times = np.tile(np.arange(length, dtype=np.float64), count)
    labels = tuple(str(i + 1) for i in range(length)) * count
    flat = [one.swapaxes(0, 1).reshape(count * length, one.shape[2]) for one in (past, known)]
    return SeriesRows("the generated series", tuple(names), rows, times, labels, *flat)
