"""Autoregression: linear forecasts whose coefficients follow from the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..lazy import np
from ..shapes import Shape
from .base import Forecaster, OfSeries, values_of

if TYPE_CHECKING:
    from ..data.preprocess.sums import Doubles


class AutoRegression(OfSeries):
    """y(t) = c0 + c1 y(t - 1) + ... + ck y(t - k), gone on with step by step; each value of a series by itself.

    yule_walker solves the equations of the autocovariances, sums over n - lag products divided by n, about the mean:
    statsmodels calls that "mle". yule_walker_adjusted divides by n - lag, its default. least_squares regresses each
    value on the k before it and a constant. Several series share their coefficients.
    Targets: values of a series.
    Errors: an order above the window.
    Source: Box, Jenkins, Reinsel & Ljung, Time Series Analysis, 5th edition, section 7.3; scipy.linalg.solve_toeplitz
        (Levinson's recursion).
    """

    kind: ClassVar[str] = "auto_regression"
    order: PositiveInt = Field(le=1_000_000, description="values before that a forecast depends on, k")
    method: Literal["yule_walker", "yule_walker_adjusted", "least_squares"] = Field(
        "yule_walker", description="how the coefficients follow from the training part"
    )
    field_hints: ClassVar[Mapping[str, str]] = {"estimator": "`method` says how: yule_walker or least_squares."}

    def check(self, window: int) -> str:
        return (
            ""
            if self.order <= window
            else f"`order` {self.order:,} reaches back further than the window of {window:,}"
        )

    def forecaster(self, shape: Shape, target: Shape, series: Sequence[Any]) -> Any:
        count = values_of(target)
        solve = _least_squares if self.method == "least_squares" else self._yule_walker
        each = np.stack([solve([one[:, i] for one in series], self.order) for i in range(count)])

        def go_on(x: Any) -> Any:
            past = x[:, -self.order :].astype(np.float64)
            for _ in range(target[0]):
                last_first = past[:, : -self.order - 1 : -1]
                following = each[:, 0] + np.einsum("nkv,vk->nv", last_first, each[:, 1:])
                past = np.concatenate([past, following[:, None]], 1)
            return past[:, self.order :]

        return Forecaster(shape, count, go_on, each)

    def _yule_walker(self, series: Sequence[Doubles], order: int) -> Doubles:
        """Return the constant and the coefficients, of the last value first."""
        from scipy.linalg import solve_toeplitz

        mean = np.concatenate(series).mean()
        centred = [one - mean for one in series]
        sums = np.array([sum(one[lag:] @ one[: len(one) - lag] for one in centred) for lag in range(order + 1)])
        total = sum(map(len, series))
        lags = np.arange(order + 1) * len(series) if self.method == "yule_walker_adjusted" else 0
        covariances = sums / (total - lags)
        if not covariances[0] > 0:
            raise ValueError("the series does not vary, so that it has no autocovariances")
        found = solve_toeplitz(covariances[:order], covariances[1:])
        return np.concatenate([[mean * (1 - found.sum())], found])

    def found(self, fitted: Any) -> list[str]:
        return [
            f"y(t) = {one[0]:.6g}" + "".join(f" {c:+.6g} y(t - {i})" for i, c in enumerate(one[1:], 1))
            for one in fitted.coefficients
        ]


def _least_squares(series: Sequence[Doubles], order: int) -> Doubles:
    """Return the constant and the coefficients, of the last value first."""
    rows = np.concatenate([np.lib.stride_tricks.sliding_window_view(one, order + 1) for one in series])
    inputs = np.concatenate([np.ones((len(rows), 1)), rows[:, -2::-1]], 1)
    found: Doubles = np.linalg.lstsq(inputs, rows[:, -1])[0]
    return found
