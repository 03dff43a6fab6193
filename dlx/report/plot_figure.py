"""What a picture shows, as numbers: the one form that charts, TikZ, CSV and JSON are written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from ..errors import plural
from ..lazy import np
from .kinds import Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Scale = Literal["linear", "log"]
DIGITS = 6
"""Significant digits of a value in a chart; in CSV and JSON all are written."""


@dataclass(frozen=True)
class Series:
    """Values of one metric of one group of runs.

    Attributes:
        label: of the group.
        metric: name of the metric.
        panel: title of the panel that it is in.
        x: where the values are (n,): steps, epochs, seconds or another quantity; of bars the number of the run.
        y: the values (n,), means over the runs where there are several; NaN for what is not finite.
        low: lower end of the band (n,); None where there is none.
        high: upper end of the band.
        runs: how many runs it is the mean of.
    """

    label: str
    metric: str
    panel: str
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    runs: int = 1

    def at(self, chosen: Array) -> Series:
        """Return the series at some of its indices."""
        low = None if self.low is None else self.low[chosen]
        high = None if self.high is None else self.high[chosen]
        return Series(self.label, self.metric, self.panel, self.x[chosen], self.y[chosen], low, high, self.runs)

    def thinned(self, points: int) -> Series:
        """Return at most about `points` of the values: the ends, and the least and largest of each of equal bins."""
        if len(self.x) <= points:
            return self
        bins = max(1, points // 2)
        size = -(-len(self.y) // bins)
        padded = np.full(bins * size, np.nan)
        padded[: len(self.y)] = self.y
        rows = padded.reshape(bins, size)
        first = np.arange(bins) * size
        found = [np.array([0, len(self.y) - 1])]
        for fill, best in ((np.inf, np.argmin), (-np.inf, np.argmax)):
            found.append(first + best(np.where(np.isnan(rows), fill, rows), axis=1))
        chosen = np.unique(np.concatenate(found))
        return self.at(chosen[chosen < len(self.y)])


@dataclass(frozen=True)
class Figure:
    """Series in panels on common axes."""

    kind: Kind
    x: str
    """Title of the horizontal axis."""
    series: tuple[Series, ...]
    scale: Scale = "linear"
    x_scale: Scale = "linear"
    band: str = ""
    """What the bands or bars of error are, in words; empty where there are none."""

    @property
    def panels(self) -> list[str]:
        return list(dict.fromkeys(one.panel for one in self.series))

    @property
    def labels(self) -> list[str]:
        return list(dict.fromkeys(one.label for one in self.series))

    @property
    def counts(self) -> dict[str, int]:
        """The runs of each group, where it has several."""
        found = {name: max(one.runs for one in self.series if one.label == name) for name in self.labels}
        return {name: runs for name, runs in found.items() if runs > 1 and self.kind != "scatter"}

    def metrics(self, panel: str) -> list[str]:
        return list(dict.fromkeys(one.metric for one in self.series if one.panel == panel))

    def thinned(self, points: int) -> Figure:
        """Return the figure with at most about `points` values a series."""
        lines = self.kind in {"curve", "gradients"}
        series = tuple(one.thinned(points) for one in self.series) if lines else self.series
        return Figure(self.kind, self.x, series, self.scale, self.x_scale, self.band)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and the rows of all values, in full."""
        has_bands = any(one.low is not None for one in self.series)
        titles = ["runs", "metric", self.x, "value", *(["low", "high"] if has_bands else [])]
        return titles, [row for one in self.series for row in _rows(one, has_bands)]

    def as_json(self) -> dict[str, Any]:
        """Return the figure for `--json`; missing values are null."""
        series = [
            {"label": one.label, "metric": one.metric, "runs": one.runs, "x": _plain(one.x), "y": _plain(one.y)}
            | ({} if one.low is None or one.high is None else {"low": _plain(one.low), "high": _plain(one.high)})
            for one in self.series
        ]
        return {"kind": self.kind, "x": self.x, "band": self.band or None, "series": series}


def positive(figure: Figure, notes: list[str]) -> Figure:
    """Return the figure without what has no place on its logarithmic axes, and note how much that is."""
    series = []
    for one in figure.series:
        misplaced = np.zeros(len(one.x), bool)
        if figure.x_scale == "log":
            misplaced |= ~(one.x > 0)
        if figure.scale == "log":
            misplaced |= one.y <= 0
        if count := int(misplaced.sum()):
            notes.append(
                f"{plural(count, 'value')} of {one.metric} of {one.label} at 0 or below left out: the axis is log"
            )
        left = one.at(~misplaced)
        if figure.scale == "log" and left.low is not None and left.high is not None:
            # a band that goes down to 0 or below ends at the least value that is there
            least = np.nanmin(left.y) if len(left.y) and not np.isnan(left.y).all() else 1.0
            left = Series(*_first_of(left), np.maximum(left.low, least / 10), left.high, left.runs)
        series.append(left)
    return Figure(figure.kind, figure.x, tuple(series), figure.scale, figure.x_scale, figure.band)


def _first_of(one: Series) -> tuple[str, str, str, Any, Any]:
    return one.label, one.metric, one.panel, one.x, one.y


@dataclass(frozen=True)
class Matrix:
    """Confusion matrix of a group of runs, added up: counts of targets by row and of predictions by column."""

    label: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    part: str
    runs: int = 1


@dataclass(frozen=True)
class Matrices:
    """Confusion matrices side by side."""

    matrices: tuple[Matrix, ...]
    kind: Kind = "confusion"

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and the rows of all counts."""
        rows = [
            [one.label, one.part, true, predicted, count]
            for one in self.matrices
            for true, row in zip(one.classes, one.counts, strict=True)
            for predicted, count in zip(one.classes, row, strict=True)
        ]
        return ["runs", "part", "target", "predicted", "count"], rows

    def as_json(self) -> dict[str, Any]:
        """Return the matrices for `--json`."""
        each = [
            {"label": m.label, "part": m.part, "runs": m.runs, "classes": list(m.classes), "counts": list(m.counts)}
            for m in self.matrices
        ]
        return {"kind": self.kind, "rows": "target", "columns": "predicted", "matrices": each}


def _rows(one: Series, has_bands: bool) -> list[list[Any]]:
    columns = [_plain(one.x), _plain(one.y)]
    if has_bands:
        columns += [[None] * len(one.x) if ends is None else _plain(ends) for ends in (one.low, one.high)]
    return [[one.label, one.metric, *row] for row in zip(*columns, strict=True)]


def _plain(values: Array) -> list[Any]:
    return [v if not isinstance(v, float) or isfinite(v) else None for v in values.tolist()]


def rounded(values: Sequence[float] | Array | None, count: int) -> list[str]:
    """Write values with few digits for a chart, whole numbers such as steps in full, missing ones as nothing."""
    if values is None:
        return [""] * count
    return [
        str(v) if isinstance(v, int) else f"{v:.{DIGITS}g}" if isfinite(v) else ""
        for v in np.asarray(values).tolist()
    ]
