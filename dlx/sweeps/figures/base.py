"""Style and axes that all figures of a study share. matplotlib without a screen, and without its global state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import floor, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...spec.sections.sweep_values import Choices, Dimension
from ...spec.validation import shown as worded
from ...utils.short_names import short_names
from ..importance import comparable_values, limits
from ..importance import importance as importance_of
from ..leaderboard import LeaderboardRow, rank
from ..trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINT, BEST, FRONT, FAINT = "#3b6ea8", "#d1495b", "#2a9d8f", "#9aa5b1"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "dlx",
}
DOTS = 130
"""Resolution of a PNG, in dots per inch."""
MAX_TEXT = 24
"""Characters of a value on an axis."""
MAX_DIMENSIONS = 12
"""Dimensions in one figure at most: the most important ones."""


@dataclass(frozen=True)
class Picture:
    """A finished figure."""

    figure: Figure

    def save(self, path: Path) -> None:
        """Save as PNG or SVG by the suffix, without a time stamp, so that a study always gives the same bytes."""
        about = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        self.figure.savefig(path, dpi=DOTS, metadata=about)


@contextmanager
def styled() -> Iterator[None]:
    """Set the style of all figures while something is drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's are not for the user of dlx
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            yield


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Create an empty figure, its size in inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # without pyplot: it holds figures in a global list, and picks a backend that may want a screen
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@dataclass(frozen=True)
class StudyView:
    """Trials and dimensions of a study, as the figures show them."""

    trials: Sequence[Trial]
    dimensions: Sequence[Dimension]
    metric: str
    rising: bool
    board: Sequence[LeaderboardRow]

    @property
    def best(self) -> Trial:
        return self.board[0].trial

    @cached_property
    def values(self) -> dict[int, float]:
        """Metric of each trial, all at one rung."""
        return comparable_values(self.trials, self.metric)

    @cached_property
    def names(self) -> dict[str, str]:
        return short_names([d.key for d in self.dimensions])

    @cached_property
    def importance(self) -> dict[str, float]:
        return importance_of(self.trials, self.dimensions, self.metric, self.rising)

    @cached_property
    def varying(self) -> list[Dimension]:
        """Dimensions in which trials differ, the most important first."""
        there = [d for d in self.dimensions if len({worded(v) for _, v in self.trials_with(d)}) > 1]
        return sorted(there, key=lambda d: -self.importance.get(d.key, 0.0))[:MAX_DIMENSIONS]

    def trials_with(self, dimension: Dimension) -> list[tuple[Trial, Any]]:
        """Return the trials with a value that have this key, each with its value of it."""
        return [
            (t, t.point[dimension.key]) for t in self.trials if t.number in self.values and dimension.key in t.point
        ]

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Range of the metric's axis and colours, without outliers."""
        return limits(list(self.values.values()), self.rising)

    @property
    def label(self) -> str:
        """Label of the metric's axis."""
        seeds = max(place.seeds for place in self.board)
        of = f", mean of {seeds} seeds" if seeds > 1 else ""
        return f"{self.metric}{of} ({'higher' if self.rising else 'lower'} is better)"

    def format_value(self, value: float) -> str:
        """Format a value of the metric, with as many digits as the range of the axis needs."""
        low, high = self.limits
        return f"{value:.{min(6, max(0, 2 - floor(log10(high - low))))}f}"

    def clipped(self, value: float) -> float:
        """Return the value within the limits of the axis."""
        low, high = self.limits
        return min(max(value, low), high)


def view_of(trials: Sequence[Trial], dimensions: Sequence[Dimension], metric: str, rising: bool) -> StudyView | None:
    """Return the view of these trials; None where none has a value."""
    board = [place for place in rank(trials, metric, rising) if isfinite(place.mean)]
    made = StudyView(trials, dimensions, metric, rising, board)
    return made if board and made.values else None


# --- an axis for a dimension ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AxisScale:
    """Scale of a dimension on an axis: numbers as they are, choices at equal distances."""

    dimension: Dimension

    @property
    def words(self) -> bool:
        return isinstance(self.dimension, Choices) and not self.dimension.ordered

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic: as the dimension says, or as its choices are spaced."""
        if not isinstance(self.dimension, Choices):
            return self.dimension.log
        values = [v for v in self.dimension.values if isinstance(v, int | float)]
        return not self.words and len(values) > 2 and min(values) > 0 and max(values) / min(values) >= 8

    def at(self, value: Any) -> float:
        """Return the coordinate of a value."""
        return float(
            self.dimension.ranks.index(value) if isinstance(self.dimension, Choices) and self.words else value
        )

    def scaled(self, value: Any) -> float:
        """Return the coordinate in which distances count: its logarithm on a logarithmic axis."""
        return log10(self.at(value)) if self.log else self.at(value)

    def ticks(self) -> list[Any] | None:
        """Return the values with ticks; None where they are so many that the scale decides."""
        if isinstance(self.dimension, Choices):
            return list(self.dimension.ranks) if self.dimension.size <= MAX_DIMENSIONS else None
        return (
            list(self.dimension)
            if self.dimension.size is not None and self.dimension.size <= MAX_DIMENSIONS
            else None
        )

    def apply(self, axis: Any, set_scale: Callable[[str], Any]) -> None:
        """Set the scale and the ticks of an axis."""
        marks = self.ticks()
        if self.log:
            set_scale("log")
            if marks is None:
                low, high = (self.dimension.at(share) for share in (0.0, 1.0))
                format_log_axis(axis, high / low)
        if marks is not None:
            axis.set_major_locator(_fixed([self.at(v) for v in marks]))
            axis.set_major_formatter(_words([text(v) for v in marks]))
            axis.set_minor_locator(_fixed([]))


def format_log_axis(axis: Any, times: float) -> None:
    """Set the ticks of a logarithmic axis whose end is `times` its beginning."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0,) if times > 200 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    return f"{value:,.0f}" if 1 <= value < 1e6 else f"{value:.4g}"


def _fixed(places: Sequence[float]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(places)


def _words(words: Sequence[str]) -> Any:
    from matplotlib.ticker import FixedFormatter

    return FixedFormatter(words)


def text(value: Any) -> str:
    """Format a value for an axis or a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    view = value if isinstance(value, str) else f"{value:,}" if type(value) is int else worded(value)
    return view if len(view) <= MAX_TEXT else f"{view[: MAX_TEXT - 3]}..."
