"""Autocorrelation of functions of one variable, from their values at equal distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt


def autocorrelations(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the autocorrelation at each lag from 0 to half of the points: values (N,) -> (N // 2 + 1,).

    The mean over all pairs at that lag of the product of their deviations from the mean, by the variance. NaN for
    values that are all equal, which have none.
    Source: Box, Jenkins & Reinsel, Time Series Analysis, section 2.1; Prince 2023, Understanding Deep Learning,
    figure 11.3c.
    """
    x = np.asarray(values, np.float64)
    return products(x[None] - x.mean())


def products(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean product of two values at each lag, over all rows (M, N) and pairs, by that at lag 0.

    Source: Prince 2023, Understanding Deep Learning, appendix B.2.1, of a process of which the rows are draws.
    """
    n = rows.shape[1]
    lags = np.arange(n // 2 + 1)
    square = float((rows * rows).sum()) / n
    if not square:
        return np.full(len(lags), np.nan)
    padded = np.fft.rfft(rows, 2 * n)  # as many zeros behind: no product wraps around
    sums = np.fft.irfft((padded * padded.conj()).sum(0), 2 * n)[: len(lags)]
    found: npt.NDArray[np.float64] = sums / (n - lags) / square
    return found


def at_lag(correlations: npt.NDArray[np.float64], distance: float, lag: float) -> float:
    """Return the autocorrelation at a lag, between the two nearest lags on a straight line."""
    return float(np.interp(lag, distance * np.arange(len(correlations)), correlations))
