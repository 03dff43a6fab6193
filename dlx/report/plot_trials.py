"""The trials of a study as lines over the values that vary, to the metric that is searched for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import Any

from ..errors import DlxError
from ..spec.validation import shown
from ..sweeps.study import Study
from .charts_data import Json, table
from .charts_style import COLOURS, INK, Theme
from .kinds import Kind
from .plot_values import is_number

APART = 130
"""Pixels between two axes."""
HEIGHT = 300
FAR = 50.0
"""Ratio of the largest value to the least from which on an axis of positive numbers is logarithmic."""
MOST_NAMED = 12
"""Values that an axis names, at most; of more numbers the ends and some between."""


@dataclass(frozen=True)
class TrialAxis:
    """An axis: its name, what it says where from 0 to 1, and where each trial crosses it; None where it does not."""

    name: str
    marks: tuple[tuple[float, str], ...]
    places: tuple[float | None, ...]


@dataclass(frozen=True)
class Parallel:
    """Trials over axes, of which the last is the metric.

    Attributes:
        trials: their numbers.
        values: of each trial, its value on each axis; None where the trial does not have the key.
        best: number of the best trial.
    """

    label: str
    axes: tuple[TrialAxis, ...]
    trials: tuple[int, ...]
    values: tuple[tuple[Any, ...], ...]
    best: int
    rising: bool
    kind: Kind = "parallel"

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return a row for each trial."""
        rows = [[number, *values] for number, values in zip(self.trials, self.values, strict=True)]
        return ["trial", *(axis.name for axis in self.axes)], rows

    def as_json(self) -> dict[str, Any]:
        """Return the trials for `--json`."""
        titles, rows = self.table()
        trials = [dict(zip(titles, row, strict=True)) for row in rows]
        return {"kind": self.kind, "label": self.label, "best": self.best, "trials": trials}


def parallel(study: Study, label: str) -> Parallel:
    """Return the trials of a study that have a value. DlxError where there is none, or nothing varies."""
    metric, rising = study.metrics[0], study.rising[0]
    trials = [t for t in study.points() if (value := t.value(metric)) is not None and isfinite(value)]
    if not trials:
        raise DlxError(f"no trial of {study.folder} has a `{metric}`", hint="The same `dlx sweep` goes on with it.")
    keys = list(dict.fromkeys(key for trial in trials for key in trial.point))
    if not keys:
        raise DlxError(
            f"in {study.folder} nothing varies but folds and seeds", hint="`--kind bar` shows their figures."
        )
    from ..utils.short_names import short_names

    names, figures = short_names(keys), [float(trial.value(metric) or 0.0) for trial in trials]
    axes = [_axis(names[key], [trial.point.get(key) for trial in trials]) for key in keys]
    values = [(*(trial.point.get(key) for key in keys), value) for trial, value in zip(trials, figures, strict=True)]
    best = (max if rising else min)(range(len(trials)), key=figures.__getitem__)
    return Parallel(
        label,
        (*axes, _axis(metric, figures)),
        tuple(trial.number for trial in trials),
        tuple(values),
        trials[best].number,
        rising,
    )


def _axis(name: str, values: Sequence[Any]) -> TrialAxis:
    """Return an axis of numbers, logarithmic where they lie far apart, else of words in their order."""
    there = [value for value in values if value is not None]
    if not all(is_number(value) for value in there):
        words = list(dict.fromkeys(shown(value).strip('"') for value in there))
        place = {word: i / max(1, len(words) - 1) for i, word in enumerate(words)}
        found = tuple(None if value is None else place[shown(value).strip('"')] for value in values)
        return TrialAxis(name, tuple((at, word) for word, at in place.items()), found)
    low, high = min(there), max(there)
    far = low > 0 and high / low >= FAR

    def share(value: float) -> float:
        if low == high:
            return 0.5
        return log(value / low) / log(high / low) if far else (value - low) / (high - low)

    distinct = sorted(set(there))
    ends = [low * (high / low) ** (i / 4) if far else low + (high - low) * i / 4 for i in range(5)]
    marks = distinct if len(distinct) <= MOST_NAMED else ends
    named = tuple((share(value), f"{value:.4g}") for value in marks)
    return TrialAxis(name, named, tuple(None if value is None else share(value) for value in values))


def parallel_panel(one: Parallel, theme: Theme = "light") -> Json:
    """Return the figure: a line a trial, its colour the metric, the best one thick."""
    ink, names = INK[theme], [axis.name for axis in one.axes]
    rows = [
        (number, axis.name, axis.places[i], one.values[i][-1])
        for i, number in enumerate(one.trials)
        for axis in one.axes
        if axis.places[i] is not None
    ]
    titles = ("trial", "axis", "place", "metric")
    types = {"trial": "number", "place": "number", "metric": "number"}
    along = {"field": "axis", "type": "ordinal", "sort": names, "title": None}
    x = along | {"axis": {"labelAngle": 0, "labelLimit": APART, "domain": False, "ticks": False, "labelPadding": 10}}
    y = {"field": "place", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": None}
    legend = {"title": names[-1], "orient": "right", "direction": "vertical"}
    colour = {"field": "metric", "type": "quantitative", "legend": legend}
    colour |= {"scale": {"scheme": "viridis", "reverse": not one.rising}}
    line: Json = {"mark": {"type": "line", "opacity": 0.75}, "encoding": {"color": colour}}
    thick = {"type": "line", "strokeWidth": 4, "color": COLOURS[1]}
    best: Json = {"transform": [{"filter": f"datum.trial === {one.best}"}], "mark": thick}
    marks = [{"axis": axis.name, "place": place, "word": word} for axis in one.axes for place, word in axis.marks]
    text = {"type": "text", "align": "left", "dx": 6, "fontSize": 10, "color": ink["faint"]}
    halo = text | {"stroke": ink["background"], "strokeWidth": 3, "strokeJoin": "round"}
    named = {"data": {"values": marks}, "encoding": {"text": {"field": "word", "type": "nominal"}}}
    ends = [{"axis": name, "place": 0, "top": 1} for name in names]
    rule = {
        "mark": {"type": "rule", "color": ink["line"]},
        "data": {"values": ends},
        "encoding": {"y2": {"field": "top"}},
    }
    way = "higher" if one.rising else "lower"
    about = f"{len(one.trials)} trials, {way} is better; thick: trial {one.best}, the best"
    return {
        "title": {"text": one.label, "subtitle": about, "subtitleColor": ink["faint"]},
        "width": APART * len(names),
        "height": HEIGHT,
        "data": table(titles, rows, types),
        "encoding": {"x": x, "y": y, "detail": {"field": "trial"}},
        "layer": [rule, line, best, {**named, "mark": halo}, {**named, "mark": text}],
    }
