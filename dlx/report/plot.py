"""Figures of runs: curves, bars, scatter and confusion matrices, of what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ..errors import DlxError, did_you_mean, listed, plural
from ..experiment import confusion_matrix
from ..lazy import np
from ..metrics import RUNNING_LOSS
from ..runs.folder import RunFolder
from ..sweeps.study import Study
from ..trained.difference import RunGroup
from ..trained.evaluate import Loaded, job_of_run
from ..trained.inside import Inside
from . import looks
from .kinds import Band, Kind
from .plot_calibration import Reliability, reliability
from .plot_figure import Figure, Matrices, Matrix, Series, positive
from .plot_gradients import gradients, is_size
from .plot_groups import groups, study_of
from .plot_means import Axis, chosen, half_width, series_of, words
from .plot_options import AXES, Options
from .plot_records import Curves, curves_of
from .plot_stages import expanded, main_of_each, stages_of
from .plot_trials import Parallel, parallel
from .plot_values import value_of, values_of
from .sheet import Sheet

TITLES: dict[Axis, str] = {"step": "step", "epoch": "epoch", "time": "seconds of training"}
Shown = Figure | Matrices | Reliability | Parallel | Sheet
HELD_OUT = ("valid/", "test/")
MOST_CLASSES = 200
"""Classes of a confusion matrix that can be drawn."""


@dataclass(frozen=True)
class Plot:
    """A figure with what is to be said about it."""

    figure: Shown
    groups: tuple[RunGroup, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        runs = [{"label": group.label, "runs": [run.key for run in group.runs]} for group in self.groups]
        return {**self.figure.as_json(), "groups": runs, "notes": list(self.notes)}


def plot(names: Sequence[str], root: Path, options: Options) -> Plot:
    """Draw runs as the options say. DlxError where a run, a metric or a matrix is not there."""
    options.check()
    if options.kind == "parallel":
        return Plot(trials_of(names, root), (), ())
    drawing = Drawing(tuple(groups(names, root, options.each, trials=options.kind == "scatter")), options)
    make: dict[Kind, Callable[[Drawing], Shown]] = {
        "curve": curve,
        "bar": bar,
        "scatter": scatter,
        "confusion": confusion,
        "calibration": reliability,
        "gradients": gradients,
        "filters": looks.filters,
        "features": looks.features,
        "attention": looks.attention,
        "fields": looks.fields,
        "samples": looks.samples,
    }
    return Plot(make[options.kind](drawing), drawing.groups, tuple(dict.fromkeys(drawing.notes)))


def trials_of(names: Sequence[str], root: Path) -> Parallel:
    """Return the trials of the study that is named. DlxError where it is none, or several are named."""
    (name, *more) = names
    folder = study_of(name, root)
    if folder is None or more:
        what = f"`{name}` is none" if folder is None else f"{len(names)} are named"
        raise DlxError(f"`--kind parallel` shows the trials of one study, and {what}", hint="Name the folder of one.")
    return parallel(Study.open(folder), folder.name)


@dataclass
class Drawing:
    """Groups of runs while they are drawn, and the notes so far."""

    groups: tuple[RunGroup, ...]
    options: Options
    notes: list[str] = field(default_factory=list)
    insides: dict[str, Inside] = field(default_factory=dict)
    """What the layers of runs make of their examples, by the keys of the runs, as far as it is computed."""
    loads: dict[str, Loaded] = field(default_factory=dict)
    """Runs as trainings at their end, with their data, as far as they are read."""

    def loaded(self, run: RunFolder) -> Loaded:
        """Return a run as a training at its end, with its data, which is read once for all pictures."""
        if run.key not in self.loads:
            self.loads[run.key] = job_of_run(run, "final")
        return self.loads[run.key]

    @cached_property
    def curves(self) -> dict[str, list[Curves]]:
        """The curves of the runs of each group, by its label; those of a run without a record are none."""
        return {group.label: [self._curves(run) for run in group.runs] for group in self.groups}

    def _curves(self, run: RunFolder) -> Curves:
        status = run.status()
        if status in {"running", "died", "failed", "stopped"}:
            self.notes.append(f"{run.key} {STATES[status]}: it is drawn as far as it is recorded")
        return curves_of(run)

    def with_options(self, options: Options) -> Drawing:
        """Return the same runs for another figure, with the curves that are read already."""
        other = Drawing(self.groups, options, self.notes, self.insides, self.loads)
        other.curves = self.curves
        return other

    @cached_property
    def values(self) -> dict[str, list[dict[str, float]]]:
        """The final metrics, costs and settings of the runs of each group, by its label."""
        return {group.label: [values_of(run) for run in group.runs] for group in self.groups}

    def learns_classes(self, label: str) -> bool:
        """Whether the runs of a group tell classes apart: all objectives that do so measure accuracy or error."""
        ends = {name.rpartition("/")[2] for one in self.values[label] for name in one}
        return bool(ends & {"accuracy", "error"})

    @cached_property
    def stages(self) -> dict[str, str]:
        """The stage of each curve that is of one."""
        return stages_of(self.curves.values())

    def chosen(
        self, each: Mapping[str, Sequence[Iterable[str]]], what: str, stages: Mapping[str, str] = MappingProxyType({})
    ) -> list[str]:
        """Return the metrics that are asked for, else the main ones of each stage. DlxError where no run has one."""
        known = {name for runs in each.values() for one in runs for name in one}
        if not known:
            hint = "Name runs that have trained; a baseline has no curve: `--kind bar`."
            raise DlxError(f"{self._who()} recorded no {what}", hint=hint)
        asked = expanded(self.options.metrics, known, stages)
        if missing := [name for name in asked if name not in known]:
            finals = {name for runs in self.values.values() for one in runs for name in one}
            raise DlxError(*(_missing(name, known, what, name in finals) for name in missing))
        self.notes += _lacking(asked, each)
        return list(dict.fromkeys(asked)) or main_of_each(each.values(), stages, main_metrics)

    def _who(self) -> str:
        return self.groups[0].label if len(self.groups) == 1 else f"none of {plural(len(self.groups), 'group')}"


def _lacking(metrics: Iterable[str], each: Mapping[str, Sequence[Iterable[str]]]) -> list[str]:
    """Return a note for each set of groups that did not record some metrics."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name in metrics:
        lacking = tuple(label for label, runs in each.items() if not all(name in one for one in runs))
        if lacking:
            found.setdefault(lacking, []).append(name)
    return [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} not recorded by {listed(who, most=5, quote='')}, "
        f"which {'has' if len(who) == 1 else 'have'} no part in {'it' if len(names) == 1 else 'them'}"
        for who, names in found.items()
    ]


STATES = {"running": "is running", "died": "has died", "failed": "has failed", "stopped": "was stopped"}


def _missing(name: str, known: set[str], what: str, at_the_end: bool) -> Any:
    from ..errors import Problem

    if at_the_end:
        return Problem(f"`{name}` is measured at the end alone, and has no curve", "`--kind bar` draws it.")
    listed = sorted(known, key=lambda one: (not one.startswith(HELD_OUT), one))
    hint = did_you_mean(name, listed)
    return Problem(f"none of the runs has recorded the {what} `{name}`", hint)


def main_metrics(each: Iterable[Sequence[Iterable[str]]]) -> list[str]:
    """Return what is drawn where nothing is asked for: the losses, and the first other metric of a held-out part.

    Of runs with different metrics, those that all have.
    """
    names = [[name for name in one if not is_size(name)] for runs in each for one in runs if one]
    shared = [name for name in names[0] if all(name in one for one in names)] if names else []
    losses = [name for name in ("valid/loss", RUNNING_LOSS) if name in shared] or [
        name for name in shared if name.startswith("train/")
    ]
    others = [n for n in shared if n.startswith(HELD_OUT) and not n.endswith("/loss")]
    found = [*losses, *islice(others, 1)] or [name for name in shared if not name.startswith("lr")][:1]
    if not found:
        listed = "; ".join(", ".join(one[:6]) for one in names[:4])
        raise DlxError(f"the runs have no metric in common: {listed}", hint="Name one of some of them: `--metric`.")
    return found


# --- curves ---------------------------------------------------------------------------------------------------------


def curve(drawing: Drawing) -> Figure:
    """Draw metrics along steps, epochs or time."""
    options = drawing.options
    axis: Axis = next((one for one in AXES if one == options.x), "step")
    metrics = drawing.chosen(drawing.curves, "metric", drawing.stages)
    series = []
    for metric in metrics:
        panel = panel_of(metric, drawing.stages.get(metric, ""))
        for label, runs in drawing.curves.items():
            points = [one[metric] for one in runs if metric in one]
            if points:
                series.append(series_of(label, metric, panel, points, axis, options.band))
                _note_of_points(drawing, series[-1], [int(one.step[-1]) for one in points if len(one)])
    band = words(options.band, series)
    found = Figure("curve", TITLES[axis], tuple(series), options.scale, options.x_scale, band)
    return positive(found, drawing.notes)


def _note_of_points(drawing: Drawing, series: Series, last: Sequence[int]) -> None:
    """Note where a mean ends before some of its runs, whose `last` steps these are, and what is not finite."""
    if len(set(last)) > 1:
        of = f"{series.metric} of {series.label}"
        drawing.notes.append(f"the mean of {of} ends where the first of its {series.runs} runs does")
    _note_of_missing(drawing, int(np.isnan(series.y).sum()), series.metric, series.label)


def _note_of_missing(drawing: Drawing, count: int, metric: str, label: str) -> None:
    if count:
        are = "is" if count == 1 else "are"
        drawing.notes.append(f"{plural(count, 'value')} of {metric} of {label} {are} not finite")


def panel_of(metric: str, stage: str = "") -> str:
    """Return the panel of a metric: what is measured, of whatever part of the data, in a stage."""
    if stage:
        return f"{panel_of(metric.removeprefix(f'{stage}/'))}, stage {stage}"
    part, slash, name = metric.partition("/")
    if part == "train" and "/" in name:  # a term of a phase: those of one phase share its panel
        return name.partition("/")[0]
    quantity = name if slash and part in {"train", "valid", "test"} else metric
    return "loss" if quantity == "running_loss" else quantity


# --- bars and scatter -----------------------------------------------------------------------------------------------


def bar(drawing: Drawing) -> Figure:
    """Draw final metrics: a bar for each group, its mean, with each run as a point."""
    options = drawing.options
    finals = {label: [_metrics(one) for one in runs] for label, runs in drawing.values.items()}
    metrics = drawing.chosen(finals, "final metric")
    series = []
    for metric in metrics:
        for label, runs in finals.items():
            each = [one[metric] for one in runs if metric in one]
            values = np.array([value for value in each if isfinite(value)])
            _note_of_missing(drawing, len(each) - len(values), metric, label)
            if len(values):
                series.append(_bar(label, metric, values, options.band))
    found = Figure("bar", "run", tuple(series), options.scale, "linear", words(options.band, series))
    return positive(found, drawing.notes)


def _bar(label: str, metric: str, values: Any, band: Band) -> Series:
    """Return the values of the runs of a group; the ends, of the mean, are the same for each."""
    count = len(values)
    band = chosen(band, count)
    ends: tuple[Any, Any] = (None, None)
    if count > 1 and band != "none":
        mean, spread = values.mean(), values[:, None]
        half = float(half_width(spread, band)[0]) if band != "range" else 0.0
        low, high = (values.min(), values.max()) if band == "range" else (mean - half, mean + half)
        ends = np.full(count, low), np.full(count, high)
    return Series(label, metric, metric, np.arange(count), values, *ends, count)


def _metrics(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if "/" in name}


def scatter(drawing: Drawing) -> Figure:
    """Draw a final metric against any recorded key, a point for each run."""
    options = drawing.options
    finals = {label: [_metrics(one) for one in runs] for label, runs in drawing.values.items()}
    across = {
        group.label: [value_of(*one, options.x) for one in zip(group.runs, drawing.values[group.label], strict=True)]
        for group in drawing.groups
    }
    series = []
    for metric in drawing.chosen(finals, "final metric"):
        for label, runs in drawing.values.items():
            pairs = [(x, one.get(metric)) for x, one in zip(across[label], runs, strict=True)]
            there = [(x, y) for x, y in pairs if x is not None and y is not None and isfinite(y)]
            _note_of_missing(drawing, sum(y is not None and not isfinite(y) for _, y in pairs), metric, label)
            if there:
                x, y = (np.array(column, float) for column in zip(*there, strict=True))
                series.append(Series(label, metric, metric, x, y, runs=len(there)))
    if not series:
        known = {name for runs in drawing.values.values() for one in runs for name in one}
        raise DlxError(f"none of the runs has a number under `{options.x}`", hint=did_you_mean(options.x, known))
    return positive(Figure("scatter", options.x, tuple(series), options.scale, options.x_scale), drawing.notes)


# --- confusion matrices ---------------------------------------------------------------------------------------------

HOW = "Train with `objective: {classification: {metrics: [confusion_matrix]}}`; it is measured at the end."


def confusion(drawing: Drawing) -> Matrices:
    """Draw the confusion matrices of each group, added up over its runs."""
    found = [one for group in drawing.groups for one in _matrices(group, drawing)]
    if not found:
        who = ", ".join(group.label for group in drawing.groups)
        learning = any(drawing.learns_classes(group.label) for group in drawing.groups)
        raise DlxError(f"{who} recorded no confusion matrix", hint=HOW if learning else "Classes are not learned.")
    largest = max(found, key=lambda one: len(one.classes))
    if len(largest.classes) > MOST_CLASSES:
        message = f"{largest.label} tells {len(largest.classes):,} classes apart, and {MOST_CLASSES} can be drawn"
        raise DlxError(message, hint="`confusion.json` of the run has the counts.")
    return Matrices(tuple(found))


def _matrices(group: RunGroup, drawing: Drawing) -> list[Matrix]:
    """Return the matrices of a group, one a head."""
    added: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    part: Literal["train", "valid", "test"] | str = drawing.options.part
    for run in group.runs:
        for one in confusion_matrix.read(run):
            if part and part not in one.parts:
                hint = f"It has those of {', '.join(one.parts)}."
                raise DlxError(f"{run.key} has no confusion matrix of the part `{part}`", hint=hint)
            name, rows = (part, one.parts[part]) if part else one.last
            title = f"{group.label}: {one.head}" if one.head else group.label
            added.setdefault((title, one.classes), []).append((name, np.array(rows)))
    if not added and drawing.learns_classes(group.label):
        drawing.notes.append(f"{group.label} recorded no confusion matrix. {HOW}")
    return [
        Matrix(title, classes, tuple(map(tuple, sum(rows for _, rows in each).tolist())), each[0][0], len(each))
        for (title, classes), each in added.items()
    ]
