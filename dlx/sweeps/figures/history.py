"""Figures of the search: its history, the costs of the best trials, and the importance of each key."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from ..importance import limits
from ..leaderboard import COSTS, LeaderboardRow, front, values_by_seed
from .base import BEST, FAINT, FRONT, POINT, Picture, StudyView, format_log_axis, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "params": "parameters",
    "macs": "MACs of one sample, forward",
    "seconds": "seconds of training, all seeds",
}


def history(view: StudyView) -> Picture:
    """Draw the metric of each trial in its order, and the best so far."""
    figure, (axes,) = new_figure(7.2, 3.8)
    finished = sorted((p for p in view.board if p.trial.state == "finished"), key=lambda p: p.trial.number)
    stopped = [p for p in view.board if p.trial.state == "stopped"]
    low, high = _metric_limits(view)
    if stopped:
        axes.scatter(
            [p.trial.number for p in stopped],
            [min(max(p.mean, low), high) for p in stopped],
            s=14,
            marker="x",
            linewidths=0.9,
            color=FAINT,
            label=f"stopped early ({len(stopped)})",
        )
    if finished:
        _dots(axes, finished, low, high)
        numbers, best = _best_so_far(finished, view.rising)
        best, last = [min(max(v, low), high) for v in best], max(t.number for t in view.trials)
        axes.step([*numbers, last], [*best, best[-1]], where="post", color=BEST, lw=1.3, label="best so far")
    _mark_best(axes, view, view.best.number, view.board[0].mean)
    margin, pad = 0.4 * (high - low), 0.05 * (high - low)
    ends = [p.mean + sign * (p.interval or 0.0) for p in finished if low <= p.mean <= high for sign in (-1, 1)]
    bottom, top = max(min([low, *ends]), low - margin), min(max([high, *ends]), high + margin)
    axes.set_ylim(bottom - pad, top + pad)
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(view.label)
    axes.set_title(_title(view), loc="left")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Picture(figure)


def _dots(axes: Axes, places: list[LeaderboardRow], low: float, high: float) -> None:
    """Draw finished trials with their intervals; outliers at the edge, as triangles."""
    near = [p for p in places if low <= p.mean <= high]
    far = [p for p in places if not low <= p.mean <= high]
    halves = [p.interval or 0.0 for p in near]
    if any(halves):
        axes.errorbar(
            [p.trial.number for p in near],
            [p.mean for p in near],
            yerr=halves,
            fmt="none",
            ecolor=POINT,
            elinewidth=0.8,
            alpha=0.55,
            label="95 % interval",
        )
    axes.scatter(
        [p.trial.number for p in near], [p.mean for p in near], s=18, color=POINT, label="finished", zorder=3
    )
    if far:
        edges = [min(max(p.mean, low), high) for p in far]
        label = f"beyond the axis ({len(far)})"
        axes.scatter([p.trial.number for p in far], edges, s=20, marker="^", color=POINT, label=label, zorder=3)


def _metric_limits(view: StudyView) -> tuple[float, float]:
    """Return the range of the metric's axis, without outliers."""
    values = [p.mean for p in view.board if p.trial.state == "finished"] or [p.mean for p in view.board]
    low, high = limits(values, view.rising)
    return low, high


def _best_so_far(places: list[LeaderboardRow], rising: bool) -> tuple[list[int], list[float]]:
    """Return the numbers of trials, and the best value so far at each."""
    pick = max if rising else min
    best: list[float] = []
    for place in places:
        best.append(pick(place.mean, best[-1]) if best else place.mean)
    return [place.trial.number for place in places], best


def _mark_best(axes: Axes, view: StudyView, x: float, y: float) -> None:
    label = f"best: trial {view.best.number}, {y:.4g}"
    axes.scatter([x], [y], s=130, marker="*", color=BEST, edgecolors="white", linewidths=0.7, label=label, zorder=5)


def _title(view: StudyView) -> str:
    """Return the number of trials by state."""
    states = [t.state for t in view.trials]
    counts = [f"{states.count(s)} {s}" for s in ("finished", "stopped", "failed") if s in states]
    lost = sum(not all(map(isfinite, values_by_seed(t, view.metric).values())) for t in view.trials)
    return f"{len(states)} trials: {', '.join(counts)}" + (f", {lost} diverged" if lost else "")


def pareto(view: StudyView) -> Picture | None:
    """Draw the metric against each cost, and the Pareto front."""
    finished = [p for p in view.board if p.trial.state == "finished"]
    costs = [c for c in COSTS if len({COSTS[c](p.trial) for p in finished}) > 1]
    if not costs:
        return None
    figure, panels = new_figure(3.5 * len(costs) + 0.5, 3.7, columns=len(costs))
    means = {p.trial.number: p.mean for p in finished}
    low, high = _metric_limits(view)
    pad = 0.05 * (high - low)
    for axes, cost in zip(panels, costs, strict=True):
        spent = [COSTS[cost](p.trial) for p in finished]
        axes.scatter(spent, [min(max(p.mean, low), high) for p in finished], s=18, color=POINT, alpha=0.7)
        line = front(view.trials, view.metric, view.rising, cost)
        x, y = [COSTS[cost](t) for t in line], [means[t.number] for t in line]
        axes.step(x, y, where="post", color=FRONT, lw=1.3, zorder=3)
        axes.scatter(x, y, s=26, color=FRONT, label=f"front ({len(line)})", zorder=4)
        if view.best.number in means:
            axes.scatter(
                [COSTS[cost](view.best)],
                [means[view.best.number]],
                s=130,
                marker="*",
                color=BEST,
                edgecolors="white",
                linewidths=0.7,
                label=f"best: trial {view.best.number}",
                zorder=5,
            )
        if min(spent) > 0 and max(spent) / min(spent) > 5:
            axes.set_xscale("log")
            format_log_axis(axes.xaxis, max(spent) / min(spent))
        axes.set_ylim(low - pad, high + pad)
        axes.set_xlabel(TITLES[cost])
        axes.legend(loc="best")
    panels[0].set_ylabel(view.label)
    return Picture(figure)


def importance(view: StudyView) -> Picture | None:
    """Draw the fraction of the variance that each key explains by itself."""
    shares = view.importance
    if not shares:
        return None
    rest = max(0.0, 1 - sum(shares.values()))
    rows = [*sorted(shares.items(), key=lambda row: row[1]), ("all together, beyond each alone", rest)]
    rows = [rows[-1], *rows[:-1]]
    figure, (axes,) = new_figure(6.4, 1.1 + 0.32 * len(rows))
    labels = [view.names.get(key, key) for key, _ in rows]
    colours = [FAINT, *[POINT] * (len(rows) - 1)]
    bars = axes.barh(range(len(rows)), [100 * share for _, share in rows], color=colours, height=0.65)
    axes.bar_label(bars, [f"{100 * share:.0f} %" for _, share in rows], padding=3)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xlim(0, 100 * max(share for _, share in rows) * 1.15)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"% of the variance of {view.metric} over the space (fANOVA, {len(view.values)} trials)")
    return Picture(figure)
