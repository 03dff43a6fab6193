"""Where good points lie: along each key, over two of them, and over all at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING, Any

from ...lazy import np
from ...spec.sections.sweep_values import Dimension
from ..trial import Trial
from .base import BEST, AxisScale, Picture, StudyView, sheet, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = 3
"""Pairs of keys that are drawn: of those that matter most."""
LEVELS = 12
MANY = 400
"""Trials above which their lines are thinner."""


def slices(shown: StudyView) -> Picture | None:
    """The metric along each key, whatever the others are."""
    if not shown.varying:
        return None
    columns = min(4, len(shown.varying))
    rows = ceil(len(shown.varying) / columns)
    figure, panels = sheet(2.9 * columns + 1, 2.9 * rows + 0.4, rows, columns)
    marks = None
    for axes, dimension in zip(panels, shown.varying, strict=False):
        marks = _slice(axes, shown, dimension)
    for axes in panels[len(shown.varying) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel(shown.label)
    assert marks is not None
    from matplotlib.ticker import MaxNLocator

    figure.colorbar(marks, ax=panels, label="trial", shrink=0.85, pad=0.01, ticks=MaxNLocator(integer=True))
    return Picture(figure)


def _slice(axes: Axes, shown: StudyView, dimension: Dimension) -> Any:
    scale, there = AxisScale(dimension), shown.along(dimension)
    x = [scale.at(v) for _, v in there]
    y = [shown.inside(shown.values[t.number]) for t, _ in there]
    numbers = [t.number for t, _ in there]
    marks = axes.scatter(x, y, c=numbers, cmap=_later(), vmin=0, vmax=max(shown.values), s=20, lw=0.3, ec="#44505c")
    scale.dress(axes.xaxis, axes.set_xscale)
    _star(axes, shown, there, scale)
    low, high = shown.limits
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    if scale.words:
        axes.set_xlim(-0.5, len(scale.ticks() or x) - 0.5)
        if max(len(text(v)) for v in scale.ticks() or [""]) > 6:
            axes.tick_params(axis="x", labelrotation=30)
    axes.set_xlabel(shown.names[dimension.key])
    return marks


def _later() -> Any:
    """Blue that is darker for later trials."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.2, 1, 128)))


def _star(axes: Axes, shown: StudyView, there: Sequence[tuple[Trial, Any]], scale: AxisScale) -> None:
    """The best, where it is among them."""
    for trial, value in there:
        if trial is shown.best:
            y = shown.inside(shown.values[trial.number])
            axes.scatter([scale.at(value)], [y], s=130, marker="*", color=BEST, ec="white", lw=0.7, zorder=5)


def contour(shown: StudyView) -> Picture | None:
    """The metric over two keys, for the pairs of those that matter most."""
    chosen = shown.varying[:3] if len(shown.varying) > 2 else shown.varying
    pairs = list(combinations(chosen, 2))[:PAIRS]
    if not pairs:
        return None
    figure, panels = sheet(3.6 * len(pairs) + 1.1, 3.5, columns=len(pairs))
    marks = None
    for axes, (one, other) in zip(panels, pairs, strict=True):
        marks = _pair(axes, shown, one, other)
    assert marks is not None
    figure.colorbar(marks, ax=panels, label=shown.label, pad=0.02)
    return Picture(figure)


def _pair(axes: Axes, shown: StudyView, one: Dimension, other: Dimension) -> Any:
    """Cells where both have few values, else a surface between the points."""
    across, up = AxisScale(one), AxisScale(other)
    there = [(t, t.point[one.key], t.point[other.key]) for t, _ in shown.along(one) if other.key in t.point]
    few = across.ticks() is not None and up.ticks() is not None
    marks = _cells(axes, shown, there, across, up) if few else _surface(axes, shown, there, across, up)
    axes.set_xlabel(shown.names[one.key])
    axes.set_ylabel(shown.names[other.key])
    axes.grid(visible=False)
    return marks


def _looks(shown: StudyView) -> dict[str, Any]:
    """Colours of the metric: dark is better."""
    low, high = shown.limits
    return {"cmap": "viridis_r" if shown.rising else "viridis", "vmin": low, "vmax": high}


def _cells(
    axes: Axes, shown: StudyView, there: Sequence[tuple[Trial, Any, Any]], across: AxisScale, up: AxisScale
) -> Any:
    """The mean of the trials that share both values, in figures too."""
    columns, rows = across.ticks() or [], up.ticks() or []
    told: dict[tuple[int, int], list[float]] = {}
    for trial, x, y in there:
        told.setdefault((rows.index(y), columns.index(x)), []).append(shown.values[trial.number])
    table = np.full((len(rows), len(columns)), np.nan)
    for place, values in told.items():
        table[place] = sum(values) / len(values)
    marks = axes.imshow(table, origin="lower", aspect="auto", **_looks(shown))
    low, high = shown.limits
    if len(columns) <= 8:
        for (row, column), values in told.items():
            mean = sum(values) / len(values)
            colour = "white" if _dark((mean - low) / (high - low), shown.rising) else "black"
            axes.text(column, row, shown.told(mean), ha="center", va="center", fontsize=7, color=colour)
    for trial, x, y in there:
        if trial is shown.best:
            at = (columns.index(x) - 0.5, rows.index(y) - 0.5)
            from matplotlib.patches import Rectangle

            axes.add_patch(Rectangle(at, 1, 1, fill=False, ec=BEST, lw=2.2))
    axes.set_xticks(range(len(columns)), [text(v) for v in columns])
    axes.set_yticks(range(len(rows)), [text(v) for v in rows])
    return marks


def _dark(share: float, rising: bool) -> bool:
    """Whether a cell's colour is dark: that of good values."""
    return (share > 0.5) == rising


def _surface(
    axes: Axes, shown: StudyView, there: Sequence[tuple[Trial, Any, Any]], across: AxisScale, up: AxisScale
) -> Any:
    x = np.array([across.even(v) for _, v, _ in there])
    y = np.array([up.even(v) for *_, v in there])
    z = np.array([shown.inside(shown.values[t.number]) for t, *_ in there])
    places = [across.at(v) for _, v, _ in there], [up.at(v) for *_, v in there]
    across.dress(axes.xaxis, axes.set_xscale)
    up.dress(axes.yaxis, axes.set_yscale)
    if not (across.words or up.words):
        _shade(axes, shown, (x, y, z), across, up)
    marks = axes.scatter(*places, c=z, s=24, ec="white", lw=0.6, zorder=3, **_looks(shown))
    for trial, one, other in there:
        if trial is shown.best:
            at = [across.at(one)], [up.at(other)]
            axes.scatter(*at, s=150, marker="*", color=BEST, ec="white", lw=0.8, zorder=5)
    return marks


def _shade(axes: Axes, shown: StudyView, xyz: tuple[Any, Any, Any], across: AxisScale, up: AxisScale) -> None:
    """A surface through the points, smoothed over their neighbours: each counts by its nearness."""
    x, y, z = xyz
    spans = (np.ptp(x) or 1.0), (np.ptp(y) or 1.0)
    gx, gy = np.linspace(x.min(), x.max(), 80), np.linspace(y.min(), y.max(), 80)
    dx = (gx[None, :, None] - x) / spans[0]
    dy = (gy[:, None, None] - y) / spans[1]
    width = 0.5 / max(2.0, len(x) ** 0.5)
    near = np.exp(-(dx**2 + dy**2) / (2 * width**2)) + 1e-12
    surface = (near * z).sum(-1) / near.sum(-1)
    low, high = shown.limits
    levels = np.linspace(low, high, LEVELS + 1)
    places = (10**gx if across.log else gx), (10**gy if up.log else gy)
    looks = _looks(shown)
    axes.contourf(*places, surface, levels=levels, alpha=0.75, extend="both", **looks)


def parallel(shown: StudyView) -> Picture | None:
    """Each trial as a line over all keys, and what it came to."""
    dimensions = sorted(shown.varying, key=lambda d: [one.key for one in shown.dimensions].index(d.key))
    if len(dimensions) < 2:
        return None
    figure, (axes,) = sheet(1.5 * (len(dimensions) + 1) + 1.6, 4.2)
    scales = [AxisScale(d) for d in dimensions]
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    low, high = shown.limits
    looks = _looks(shown)
    marks = ScalarMappable(Normalize(low, high), looks["cmap"])
    there = [t for t in shown.trials if t.number in shown.values]
    ordered = sorted(there, key=lambda t: shown.values[t.number], reverse=not shown.rising)
    lines = [_line(shown, trial, scales) for trial in ordered]
    colours = marks.to_rgba(np.array([shown.values[t.number] for t in ordered]))
    axes.add_collection(LineCollection(lines, colors=colours, lw=0.4 if len(lines) > MANY else 0.9, alpha=0.6))
    if shown.best.number in shown.values:
        x, y = zip(*_line(shown, shown.best, scales), strict=True)
        axes.plot(x, y, color=BEST, lw=2.2, label=f"best: trial {shown.best.number}", zorder=5)
        figure.legend(loc="outside lower center")
    axes.set_xlim(-0.1, len(scales) + 0.1)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks(range(len(scales) + 1), [*(shown.names[d.key] for d in dimensions), shown.metric])
    axes.tick_params(axis="x", length=0, pad=8)
    for place, scale in enumerate(scales):
        _rule(axes, place, [(scale.dimension.share(v), text(v)) for v in _marks(scale)])
    _rule(axes, len(scales), [(i / 4, shown.told(low + (high - low) * i / 4)) for i in range(5)])
    return Picture(figure)


def _line(shown: StudyView, trial: Trial, scales: Sequence[AxisScale]) -> list[tuple[float, float]]:
    """Where a trial crosses each rule, and the metric's at last; a key that it does not have is passed by."""
    places = [
        (float(i), scale.dimension.share(trial.point[scale.dimension.key]))
        for i, scale in enumerate(scales)
        if scale.dimension.key in trial.point
    ]
    low, high = shown.limits
    return [*places, (float(len(scales)), (shown.inside(shown.values[trial.number]) - low) / (high - low))]


def _marks(scale: AxisScale) -> list[Any]:
    """Values that a rule names: all, or five evenly."""
    if (marks := scale.ticks()) is not None:
        return marks
    values = [scale.dimension.at(i / 4) for i in range(5)]
    return list(dict.fromkeys(float(f"{v:.2g}") if isinstance(v, float) else v for v in values))


def _rule(axes: Axes, place: float, marks: Sequence[tuple[float, str]]) -> None:
    axes.plot([place, place], [0, 1], color="#44505c", lw=0.8, zorder=4)
    for share, word in marks:
        axes.plot([place - 0.02, place + 0.02], [share, share], color="#44505c", lw=0.8, zorder=4)
        box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75}
        axes.text(place + 0.04, share, word, fontsize=7, va="center", zorder=6, bbox=box)
