"""Forecasts that repeat what was: the last value, and that of a season before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from ..lazy import np
from ..shapes import Shape
from .base import Forecaster, OfSeries, values_of


class Naive(OfSeries):
    """Forecast the last value of the window for each step ahead.

    Targets: values of a series. The best forecast of a random walk.
    Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.2.
    """

    kind: ClassVar[str] = "naive"

    def forecaster(self, shape: Shape, target: Shape, series: Sequence[Any]) -> Any:
        return Forecaster(shape, values_of(target), lambda x: np.repeat(x[:, -1:], target[0], 1))


class SeasonalNaive(OfSeries):
    """Forecast the last value of the window from the same time of a season, for each step ahead.

    Targets: values of a series.
    Errors: a window that is shorter than a season.
    Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.2.
    """

    kind: ClassVar[str] = "seasonal_naive"
    period: PositiveInt = Field(description="steps of a season")

    def check(self, window: int) -> str:
        if self.period <= window:
            return ""
        return f"`period` {self.period:,} reaches back further than the window of {window:,}"

    def forecaster(self, shape: Shape, target: Shape, series: Sequence[Any]) -> Any:
        places = shape[0] - self.period + np.arange(target[0]) % self.period
        return Forecaster(shape, values_of(target), lambda x: x[:, places])
