"""The curves of a group of runs as one: its mean, and a band over the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from ..lazy import np
from ..utils.intervals import student_t_quantile
from .kinds import Band
from .plot_figure import Series
from .plot_records import Points

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Axis = Literal["step", "epoch", "time"]
WORDS: dict[Band, str] = {
    "interval": "95 % interval of the mean",
    "deviation": "one standard deviation",
    "range": "least and largest of the runs",
    "none": "",
}
FEW = 3
"""Runs from which on `auto` draws an interval: that of two is nine of their standard deviations to each side."""


def chosen(band: Band, runs: int) -> Band:
    """Return the band about the mean of so many runs: `auto` is the interval, and of two runs their range."""
    return band if band != "auto" else "interval" if runs >= FEW else "range"


def words(band: Band, series: Iterable[Series]) -> str:
    """Return what the bands of some series are; nothing where none has one."""
    kinds = {chosen(band, one.runs) for one in series if one.low is not None}
    of_two = "least and largest of two runs" if band == "auto" else WORDS["range"]
    return "; ".join(of_two if name == "range" else words for name, words in WORDS.items() if name in kinds)


def series_of(label: str, metric: str, panel: str, runs: Sequence[Points], axis: Axis, band: Band) -> Series:
    """Return a metric of a group: of one run its points, of several their mean at each step that all of them have.

    By time a mean stands at the mean time of its step. A value that is not finite is missing from the mean too.
    """
    if axis == "epoch":
        runs = [one.last_of_epochs() for one in runs]
    if len(runs) == 1:
        (one,) = runs
        return Series(label, metric, panel, _at(one, axis), _finite(one.value))
    keys = [one.epoch if axis == "epoch" else one.step for one in runs]
    common = reduce(np.intersect1d, keys)
    places = [_places(key, common) for key in keys]
    values = np.stack([_finite(one.value[at]) for one, at in zip(runs, places, strict=True)])
    seconds = [one.seconds[at] for one, at in zip(runs, places, strict=True)]
    x = np.stack(seconds).mean(0) if axis == "time" else common
    mean = values.mean(0)
    low, high = _ends(values, mean, chosen(band, len(runs)))
    return Series(label, metric, panel, x, mean, low, high, len(runs))


def _places(keys: Array, common: Array) -> Array:
    """Return where each of the common keys stands last."""
    order = np.argsort(keys, kind="stable")
    found: Array = order[np.searchsorted(keys[order], common, side="right") - 1]
    return found


def _at(points: Points, axis: Axis) -> Array:
    return {"step": points.step, "epoch": points.epoch, "time": points.seconds}[axis]


def _finite(values: Array) -> Array:
    found: Array = np.where(np.isfinite(values), values, np.nan)
    return found


def _ends(values: Array, mean: Array, band: Band) -> tuple[Array | None, Array | None]:
    """Return the ends of the band of values (runs, n)."""
    if band == "none" or not len(mean):
        return None, None
    if band == "range":
        return values.min(0), values.max(0)
    half = half_width(values, band)
    return mean - half, mean + half


def half_width(values: Array, band: Band) -> Array:
    """Return half the width of an interval or deviation of values (runs, n)."""
    count = len(values)
    deviation: Array = values.std(0, ddof=1)
    return deviation if band == "deviation" else student_t_quantile(count - 1) * deviation / count**0.5
