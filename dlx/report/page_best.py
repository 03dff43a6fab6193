"""Which of many runs a page shows in full: the best ones."""

from __future__ import annotations

from contextlib import suppress
from math import isfinite

from ..errors import DlxError
from ..spec import objective_of
from ..training.early_stopping import mode_of
from ..utils.intervals import mean_of
from .plot import Drawing
from .plot_values import experiment_of

MOST = 50
"""Groups of runs whose curves, specs and pictures a page has where nothing else is asked for."""


def best(drawing: Drawing, count: int) -> tuple[Drawing, str]:
    """Return the drawing of the `count` best groups, 0 for all, and words for what is left out, if anything is."""
    groups = drawing.groups
    if not count or len(groups) <= count:
        return drawing, ""
    metric = _metric(drawing)
    rises = bool(metric) and _rises(drawing, metric)
    rank = {group.label: _rank(drawing, group.label, metric, rises) for group in groups}
    chosen = sorted(groups, key=lambda group: rank[group.label])[:count]
    which = (
        f"the best {count:,} of {len(groups):,} by {metric}" if metric else f"the first {count:,} of {len(groups):,}"
    )
    words = f"Curves, specs and pictures are those of {which}: `--most N` shows N of them, `--most 0` all."
    shown = Drawing(tuple(chosen), drawing.options, drawing.notes)
    shown.values = {group.label: drawing.values[group.label] for group in chosen}
    return shown, words


def _metric(drawing: Drawing) -> str:
    """Return the metric that tells good runs from bad: the first of the validation part that is no loss."""
    names = dict.fromkeys(name for runs in drawing.values.values() for one in runs for name in one)
    for part in ("valid/", "test/"):
        own = [name for name in names if name.startswith(part)]
        if own:
            return next((name for name in own if not name.endswith("/loss")), own[0])
    return ""


def _rises(drawing: Drawing, metric: str) -> bool:
    """Whether a metric is better where it is higher, as the first spec says that can be read."""
    for group in drawing.groups:
        with suppress(DlxError):
            objective = objective_of(experiment_of(group.runs[0]).last_stage)
            return mode_of(f"valid/{metric.partition('/')[2]}", objective) == "max"
    return False


def _rank(drawing: Drawing, label: str, metric: str, rises: bool) -> float:
    """Return a number that is smaller for better groups, the largest for one without the metric."""
    values = [one[metric] for one in drawing.values[label] if metric in one]
    mean = mean_of(values) if values else float("nan")
    return (-mean if rises else mean) if isfinite(mean) else float("inf")


__all__ = ["MOST", "best"]
