"""How the search went, what the best costs, and what mattered."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from ..importance import limits
from ..leaderboard import COSTS, LeaderboardRow, front, measured
from .base import BEST, FAINT, FRONT, POINT, Picture, StudyView, dress_log, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "params": "parameters",
    "macs": "MACs of one sample, forward",
    "seconds": "seconds of training, all seeds",
}


def history(shown: StudyView) -> Picture:
    """The metric of each trial in its order, and the best so far."""
    figure, (axes,) = sheet(7.2, 3.8)
    finished = sorted((p for p in shown.board if p.trial.state == "finished"), key=lambda p: p.trial.number)
    stopped = [p for p in shown.board if p.trial.state == "stopped"]
    low, high = _span(shown)
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
        numbers, best = _running(finished, shown.rising)
        best, last = [min(max(v, low), high) for v in best], max(t.number for t in shown.trials)
        axes.step([*numbers, last], [*best, best[-1]], where="post", color=BEST, lw=1.3, label="best so far")
    _mark_best(axes, shown, shown.best.number, shown.board[0].mean)
    reach, pad = 0.4 * (high - low), 0.05 * (high - low)
    ends = [p.mean + sign * (p.interval or 0.0) for p in finished if low <= p.mean <= high for sign in (-1, 1)]
    bottom, top = max(min([low, *ends]), low - reach), min(max([high, *ends]), high + reach)
    axes.set_ylim(bottom - pad, top + pad)
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(shown.label)
    axes.set_title(_counted(shown), loc="left")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Picture(figure)


def _dots(axes: Axes, places: list[LeaderboardRow], low: float, high: float) -> None:
    """Finished trials with their intervals; what lies far beyond the rest at the edge, as a triangle."""
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


def _span(shown: StudyView) -> tuple[float, float]:
    """The axis of the metric: all that is shown near the best."""
    values = [p.mean for p in shown.board if p.trial.state == "finished"] or [p.mean for p in shown.board]
    low, high = limits(values, shown.rising)
    return low, high


def _running(places: list[LeaderboardRow], rising: bool) -> tuple[list[int], list[float]]:
    """The best so far, at each trial."""
    pick = max if rising else min
    best: list[float] = []
    for place in places:
        best.append(pick(place.mean, best[-1]) if best else place.mean)
    return [place.trial.number for place in places], best


def _mark_best(axes: Axes, shown: StudyView, x: float, y: float) -> None:
    label = f"best: trial {shown.best.number}, {y:.4g}"
    axes.scatter([x], [y], s=130, marker="*", color=BEST, edgecolors="white", linewidths=0.7, label=label, zorder=5)


def _counted(shown: StudyView) -> str:
    """How many trials, and what became of them."""
    states = [t.state for t in shown.trials]
    told = [f"{states.count(s)} {s}" for s in ("finished", "stopped", "failed") if s in states]
    lost = sum(not all(map(isfinite, measured(t, shown.metric).values())) for t in shown.trials)
    return f"{len(states)} trials: {', '.join(told)}" + (f", {lost} diverged" if lost else "")


def pareto(shown: StudyView) -> Picture | None:
    """The metric against what it costs, and the trials that none beats at the same cost."""
    finished = [p for p in shown.board if p.trial.state == "finished"]
    costs = [c for c in COSTS if len({COSTS[c](p.trial) for p in finished}) > 1]
    if not costs:
        return None
    figure, panels = sheet(3.5 * len(costs) + 0.5, 3.7, columns=len(costs))
    means = {p.trial.number: p.mean for p in finished}
    low, high = _span(shown)
    pad = 0.05 * (high - low)
    for axes, cost in zip(panels, costs, strict=True):
        spent = [COSTS[cost](p.trial) for p in finished]
        axes.scatter(spent, [min(max(p.mean, low), high) for p in finished], s=18, color=POINT, alpha=0.7)
        line = front(shown.trials, shown.metric, shown.rising, cost)
        x, y = [COSTS[cost](t) for t in line], [means[t.number] for t in line]
        axes.step(x, y, where="post", color=FRONT, lw=1.3, zorder=3)
        axes.scatter(x, y, s=26, color=FRONT, label=f"front ({len(line)})", zorder=4)
        if shown.best.number in means:
            axes.scatter(
                [COSTS[cost](shown.best)],
                [means[shown.best.number]],
                s=130,
                marker="*",
                color=BEST,
                edgecolors="white",
                linewidths=0.7,
                label=f"best: trial {shown.best.number}",
                zorder=5,
            )
        if min(spent) > 0 and max(spent) / min(spent) > 5:
            axes.set_xscale("log")
            dress_log(axes.xaxis, max(spent) / min(spent))
        axes.set_ylim(low - pad, high + pad)
        axes.set_xlabel(TITLES[cost])
        axes.legend(loc="best")
    panels[0].set_ylabel(shown.label)
    return Picture(figure)


def importance(shown: StudyView) -> Picture | None:
    """How much of the variance each key explains by itself."""
    told = shown.importance
    if not told:
        return None
    rest = max(0.0, 1 - sum(told.values()))
    rows = [*sorted(told.items(), key=lambda row: row[1]), ("all together, beyond each alone", rest)]
    rows = [rows[-1], *rows[:-1]]
    figure, (axes,) = sheet(6.4, 1.1 + 0.32 * len(rows))
    labels = [shown.names.get(key, key) for key, _ in rows]
    colours = [FAINT, *[POINT] * (len(rows) - 1)]
    bars = axes.barh(range(len(rows)), [100 * share for _, share in rows], color=colours, height=0.65)
    axes.bar_label(bars, [f"{100 * share:.0f} %" for _, share in rows], padding=3)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xlim(0, 100 * max(share for _, share in rows) * 1.15)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"% of the variance of {shown.metric} over the space (fANOVA, {len(shown.values)} trials)")
    return Picture(figure)
