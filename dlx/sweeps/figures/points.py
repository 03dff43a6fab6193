"""Figures of the points: along each key, over two of them, and over all at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING, Any

from ...lazy import np
from ...spec.sections.sweep_values import Dimension
from ..trial import Trial
from .base import BEST, AxisScale, Picture, StudyView, new_figure, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = 3
"""Pairs of keys that are drawn: the most important ones."""
LEVELS = 12
MANY = 400
"""Trials above which their lines are thinner."""


def slices(view: StudyView) -> Picture | None:
    """Draw the metric along each key, over all values of the others."""
    if not view.varying:
        return None
    columns = min(4, len(view.varying))
    rows = ceil(len(view.varying) / columns)
    figure, panels = new_figure(2.9 * columns + 1, 2.9 * rows + 0.4, rows, columns)
    marks = None
    for axes, dimension in zip(panels, view.varying, strict=False):
        marks = _slice(axes, view, dimension)
    for axes in panels[len(view.varying) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel(view.label)
    assert marks is not None
    from matplotlib.ticker import MaxNLocator

    figure.colorbar(marks, ax=panels, label="trial", shrink=0.85, pad=0.01, ticks=MaxNLocator(integer=True))
    return Picture(figure)


def _slice(axes: Axes, view: StudyView, dimension: Dimension) -> Any:
    scale, points = AxisScale(dimension), view.trials_with(dimension)
    x = [scale.at(v) for _, v in points]
    y = [view.clipped(view.values[t.number]) for t, _ in points]
    numbers = [t.number for t, _ in points]
    marks = axes.scatter(
        x, y, c=numbers, cmap=_trial_colours(), vmin=0, vmax=max(view.values), s=20, lw=0.3, ec="#44505c"
    )
    scale.apply(axes.xaxis, axes.set_xscale)
    _star(axes, view, points, scale)
    low, high = view.limits
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    if scale.words:
        axes.set_xlim(-0.5, len(scale.ticks() or x) - 0.5)
        if max(len(text(v)) for v in scale.ticks() or [""]) > 6:
            axes.tick_params(axis="x", labelrotation=30)
    axes.set_xlabel(view.names[dimension.key])
    return marks


def _trial_colours() -> Any:
    """Return a colour map that is darker for later trials."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.2, 1, 128)))


def _star(axes: Axes, view: StudyView, points: Sequence[tuple[Trial, Any]], scale: AxisScale) -> None:
    """Mark the best trial, if it is among these."""
    for trial, value in points:
        if trial is view.best:
            y = view.clipped(view.values[trial.number])
            axes.scatter([scale.at(value)], [y], s=130, marker="*", color=BEST, ec="white", lw=0.7, zorder=5)


def contour(view: StudyView) -> Picture | None:
    """Draw the metric over two keys, for the most important pairs."""
    chosen = view.varying[:3] if len(view.varying) > 2 else view.varying
    pairs = list(combinations(chosen, 2))[:PAIRS]
    if not pairs:
        return None
    figure, panels = new_figure(3.6 * len(pairs) + 1.1, 3.5, columns=len(pairs))
    marks = None
    for axes, (one, other) in zip(panels, pairs, strict=True):
        marks = _pair(axes, view, one, other)
    assert marks is not None
    figure.colorbar(marks, ax=panels, label=view.label, pad=0.02)
    return Picture(figure)


def _pair(axes: Axes, view: StudyView, one: Dimension, other: Dimension) -> Any:
    """Draw cells where both have few values, else a surface between the points."""
    across, up = AxisScale(one), AxisScale(other)
    points = [(t, t.point[one.key], t.point[other.key]) for t, _ in view.trials_with(one) if other.key in t.point]
    few = across.ticks() is not None and up.ticks() is not None
    marks = _cells(axes, view, points, across, up) if few else _surface(axes, view, points, across, up)
    axes.set_xlabel(view.names[one.key])
    axes.set_ylabel(view.names[other.key])
    axes.grid(visible=False)
    return marks


def _colour_range(view: StudyView) -> dict[str, Any]:
    """Return colour map and range of the metric: dark is better."""
    low, high = view.limits
    return {"cmap": "viridis_r" if view.rising else "viridis", "vmin": low, "vmax": high}


def _cells(
    axes: Axes, view: StudyView, points: Sequence[tuple[Trial, Any, Any]], across: AxisScale, up: AxisScale
) -> Any:
    """Draw the mean of the trials that share both values, as colour and number."""
    columns, rows = across.ticks() or [], up.ticks() or []
    cells: dict[tuple[int, int], list[float]] = {}
    for trial, x, y in points:
        cells.setdefault((rows.index(y), columns.index(x)), []).append(view.values[trial.number])
    table = np.full((len(rows), len(columns)), np.nan)
    for place, values in cells.items():
        table[place] = sum(values) / len(values)
    marks = axes.imshow(table, origin="lower", aspect="auto", **_colour_range(view))
    low, high = view.limits
    if len(columns) <= 8:
        for (row, column), values in cells.items():
            mean = sum(values) / len(values)
            colour = "white" if _dark((mean - low) / (high - low), view.rising) else "black"
            axes.text(column, row, view.format_value(mean), ha="center", va="center", fontsize=7, color=colour)
    for trial, x, y in points:
        if trial is view.best:
            at = (columns.index(x) - 0.5, rows.index(y) - 0.5)
            from matplotlib.patches import Rectangle

            axes.add_patch(Rectangle(at, 1, 1, fill=False, ec=BEST, lw=2.2))
    axes.set_xticks(range(len(columns)), [text(v) for v in columns])
    axes.set_yticks(range(len(rows)), [text(v) for v in rows])
    return marks


def _dark(share: float, rising: bool) -> bool:
    """Whether the colour of a cell is dark, as those of good values are."""
    return (share > 0.5) == rising


def _surface(
    axes: Axes, view: StudyView, points: Sequence[tuple[Trial, Any, Any]], across: AxisScale, up: AxisScale
) -> Any:
    x = np.array([across.scaled(v) for _, v, _ in points])
    y = np.array([up.scaled(v) for *_, v in points])
    z = np.array([view.clipped(view.values[t.number]) for t, *_ in points])
    places = [across.at(v) for _, v, _ in points], [up.at(v) for *_, v in points]
    across.apply(axes.xaxis, axes.set_xscale)
    up.apply(axes.yaxis, axes.set_yscale)
    if not (across.words or up.words):
        _shade(axes, view, (x, y, z), across, up)
    marks = axes.scatter(*places, c=z, s=24, ec="white", lw=0.6, zorder=3, **_colour_range(view))
    for trial, one, other in points:
        if trial is view.best:
            at = [across.at(one)], [up.at(other)]
            axes.scatter(*at, s=150, marker="*", color=BEST, ec="white", lw=0.8, zorder=5)
    return marks


def _shade(axes: Axes, view: StudyView, xyz: tuple[Any, Any, Any], across: AxisScale, up: AxisScale) -> None:
    """Draw a surface through the points, smoothed by a Gaussian kernel."""
    x, y, z = xyz
    spans = (np.ptp(x) or 1.0), (np.ptp(y) or 1.0)
    gx, gy = np.linspace(x.min(), x.max(), 80), np.linspace(y.min(), y.max(), 80)
    dx = (gx[None, :, None] - x) / spans[0]
    dy = (gy[:, None, None] - y) / spans[1]
    width = 0.5 / max(2.0, len(x) ** 0.5)
    near = np.exp(-(dx**2 + dy**2) / (2 * width**2)) + 1e-12
    surface = (near * z).sum(-1) / near.sum(-1)
    low, high = view.limits
    levels = np.linspace(low, high, LEVELS + 1)
    places = (10**gx if across.log else gx), (10**gy if up.log else gy)
    colour_range = _colour_range(view)
    axes.contourf(*places, surface, levels=levels, alpha=0.75, extend="both", **colour_range)


def parallel(view: StudyView) -> Picture | None:
    """Draw each trial as a line over all keys to its metric."""
    dimensions = sorted(view.varying, key=lambda d: [one.key for one in view.dimensions].index(d.key))
    if len(dimensions) < 2:
        return None
    figure, (axes,) = new_figure(1.5 * (len(dimensions) + 1) + 1.6, 4.2)
    scales = [AxisScale(d) for d in dimensions]
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    low, high = view.limits
    colour_range = _colour_range(view)
    marks = ScalarMappable(Normalize(low, high), colour_range["cmap"])
    points = [t for t in view.trials if t.number in view.values]
    ordered = sorted(points, key=lambda t: view.values[t.number], reverse=not view.rising)
    lines = [_line(view, trial, scales) for trial in ordered]
    colours = marks.to_rgba(np.array([view.values[t.number] for t in ordered]))
    axes.add_collection(LineCollection(lines, colors=colours, lw=0.4 if len(lines) > MANY else 0.9, alpha=0.6))
    if view.best.number in view.values:
        x, y = zip(*_line(view, view.best, scales), strict=True)
        axes.plot(x, y, color=BEST, lw=2.2, label=f"best: trial {view.best.number}", zorder=5)
        figure.legend(loc="outside lower center")
    axes.set_xlim(-0.1, len(scales) + 0.1)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks(range(len(scales) + 1), [*(view.names[d.key] for d in dimensions), view.metric])
    axes.tick_params(axis="x", length=0, pad=8)
    for place, scale in enumerate(scales):
        _rule(axes, place, [(scale.dimension.share(v), text(v)) for v in _marks(scale)])
    _rule(axes, len(scales), [(i / 4, view.format_value(low + (high - low) * i / 4)) for i in range(5)])
    return Picture(figure)


def _line(view: StudyView, trial: Trial, scales: Sequence[AxisScale]) -> list[tuple[float, float]]:
    """Return where a trial crosses each axis, and that of the metric; keys that it does not have are left out."""
    places = [
        (float(i), scale.dimension.share(trial.point[scale.dimension.key]))
        for i, scale in enumerate(scales)
        if scale.dimension.key in trial.point
    ]
    low, high = view.limits
    return [*places, (float(len(scales)), (view.clipped(view.values[trial.number]) - low) / (high - low))]


def _marks(scale: AxisScale) -> list[Any]:
    """Return the values that an axis names: all, or five at equal distances."""
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
