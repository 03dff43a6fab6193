"""Paper and pen: what all pictures of a study share. matplotlib without a screen, and without its global state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import floor, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...spec.sections.sweep_values import Choices, Dimension
from ...spec.validation import shown as worded
from ..importance import compared, limits
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
"""Pixels an inch of a PNG."""
NAMED = 24
"""Letters of a value on an axis."""
MOST = 12
"""Dimensions that one picture has room for: those that matter most."""


@dataclass(frozen=True)
class Picture:
    """A figure that is done."""

    figure: Figure

    def save(self, path: Path) -> None:
        """As PNG or SVG by its name, without the time of day, so that the same study makes the same bytes."""
        about = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        self.figure.savefig(path, dpi=DOTS, metadata=about)


@contextmanager
def styled() -> Iterator[None]:
    """The look of all of them, wherever something is drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's are not for the user of dlx
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            yield


def sheet(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@dataclass(frozen=True)
class StudyView:
    """What the pictures look at."""

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
        """The metric of each trial, all at one rung."""
        return compared(self.trials, self.metric)

    @cached_property
    def names(self) -> dict[str, str]:
        return short_names([d.key for d in self.dimensions])

    @cached_property
    def importance(self) -> dict[str, float]:
        return importance_of(self.trials, self.dimensions, self.metric, self.rising)

    @cached_property
    def varying(self) -> list[Dimension]:
        """Dimensions of which trials differ, those that matter most first, else in their order."""
        there = [d for d in self.dimensions if len({worded(v) for _, v in self.along(d)}) > 1]
        return sorted(there, key=lambda d: -self.importance.get(d.key, 0.0))[:MOST]

    def along(self, dimension: Dimension) -> list[tuple[Trial, Any]]:
        """The trials that are compared and have this key, with its value."""
        return [
            (t, t.point[dimension.key]) for t in self.trials if t.number in self.values and dimension.key in t.point
        ]

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Of the metric's axis and colours: from the best on, without what lies far beyond the rest."""
        return limits(list(self.values.values()), self.rising)

    @property
    def label(self) -> str:
        """The metric as an axis says it."""
        seeds = max(place.seeds for place in self.board)
        of = f", mean of {seeds} seeds" if seeds > 1 else ""
        return f"{self.metric}{of} ({'higher' if self.rising else 'lower'} is better)"

    def told(self, value: float) -> str:
        """A value of the metric with as many digits as tell the trials apart."""
        low, high = self.limits
        return f"{value:.{min(6, max(0, 2 - floor(log10(high - low))))}f}"

    def inside(self, value: float) -> float:
        """The value, or the edge that it lies beyond."""
        low, high = self.limits
        return min(max(value, low), high)


def shown(trials: Sequence[Trial], dimensions: Sequence[Dimension], metric: str, rising: bool) -> StudyView | None:
    """None where no trial has a value to show."""
    board = [place for place in rank(trials, metric, rising) if isfinite(place.mean)]
    made = StudyView(trials, dimensions, metric, rising, board)
    return made if board and made.values else None


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each key by as much of its end as no other one has: `lr` for `train.optimizer.adam.lr`."""
    return {key: _tail(key, [other for other in keys if other != key]) for key in keys}


def _tail(key: str, others: Iterable[str]) -> str:
    parts = key.split(".")
    tails = (".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1))
    rest = [f".{other}" for other in others]
    return next((tail for tail in tails if not any(other.endswith(f".{tail}") for other in rest)), key)


# --- an axis for a dimension ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AxisScale:
    """How a dimension lies on an axis: its numbers as they are, or choices side by side."""

    dimension: Dimension

    @property
    def words(self) -> bool:
        return isinstance(self.dimension, Choices) and not self.dimension.ordered

    @property
    def log(self) -> bool:
        """Whether its logarithm is what is even: as it says, or as its choices stand."""
        if not isinstance(self.dimension, Choices):
            return self.dimension.log
        values = [v for v in self.dimension.values if isinstance(v, int | float)]
        return not self.words and len(values) > 2 and min(values) > 0 and max(values) / min(values) >= 8

    def at(self, value: Any) -> float:
        """Where a value lies."""
        return float(
            self.dimension.ranks.index(value) if isinstance(self.dimension, Choices) and self.words else value
        )

    def even(self, value: Any) -> float:
        """The same where distances count: in its logarithm if that is its scale."""
        return log10(self.at(value)) if self.log else self.at(value)

    def ticks(self) -> list[Any] | None:
        """The values that are marked; None where they are so many that marks follow from the scale."""
        if isinstance(self.dimension, Choices):
            return list(self.dimension.ranks) if self.dimension.size <= MOST else None
        return list(self.dimension) if self.dimension.size is not None and self.dimension.size <= MOST else None

    def dress(self, axis: Any, set_scale: Callable[[str], Any]) -> None:
        """Scale and marks of an axis."""
        marks = self.ticks()
        if self.log:
            set_scale("log")
            if marks is None:
                low, high = (self.dimension.at(share) for share in (0.0, 1.0))
                dress_log(axis, high / low)
        if marks is not None:
            axis.set_major_locator(_fixed([self.at(v) for v in marks]))
            axis.set_major_formatter(_words([text(v) for v in marks]))
            axis.set_minor_locator(_fixed([]))


def dress_log(axis: Any, times: float) -> None:
    """Marks of a logarithmic axis whose end is so many times its beginning."""
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
    """A value on an axis or in a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    told = value if isinstance(value, str) else f"{value:,}" if type(value) is int else worded(value)
    return told if len(told) <= NAMED else f"{told[: NAMED - 3]}..."
