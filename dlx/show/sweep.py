"""A sweep while it runs, and how it ended."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..errors import plural
from ..sweeps.trial import State
from . import notebook
from .console import TextTable, console, document, out, say
from .leaderboard import leaderboard
from .terminal_text import visible
from .training import mirrored

if TYPE_CHECKING:
    from rich.console import Group

    from ..sweeps.events import Noted, Opened, Reported, Stopped, Suggested, SweepResult, TaskEnded
    from ..sweeps.study import Study
    from ..sweeps.trial import Trial

STATES: tuple[State, ...] = ("finished", "stopped", "failed", "waiting")
FAILED = 3
"""Failed trials whose reason is printed at the end."""
ROWS = 12
"""Rows of the live table, and of the leaderboard at the end."""


@contextmanager
def sweeping(quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Yield a callback for `sweeps.run.run` that shows the progress of a study on stderr."""
    if quiet:
        yield lambda _: None
    elif notebook.is_here():
        with notebook.sweeping(opening, figure) as callback:
            yield callback
    elif sys.stderr.isatty():
        with _live() as callback:
            yield callback
    else:
        yield Lines().on_event


class Lines:
    """Progress without a terminal: a line for each trial that has ended, and for other events."""

    def __init__(self) -> None:
        self.study: Study | None = None

    def on_event(self, event: Opened | Noted | Suggested | TaskEnded | Reported | Stopped) -> None:
        from ..sweeps.events import Noted, Opened, Reported, Stopped, Suggested

        if isinstance(event, Opened):
            self.study = event.study
            say(opening(event))
        elif isinstance(event, Noted):
            say(event.text)
        elif isinstance(event, Suggested) and event.refused:
            say(f"{plural(event.refused, 'point')} refused: {self.last_refusal()}")
        elif isinstance(event, Reported) and event.trial.state in {"finished", "failed"}:
            say(self.line(event.trial))
        elif isinstance(event, Stopped):
            for trial in event.trials:
                say(self.line(trial))

    def last_refusal(self) -> str:
        assert self.study is not None
        return self.study.refused[-1].reason

    def line(self, trial: Trial) -> str:
        assert self.study is not None
        what = trial.message if trial.state == "failed" else figure(self.study, trial)
        at = f" at step {max(trial.rungs):,}" if trial.state == "stopped" else ""
        return f"trial {trial.number}  {point_text(trial)}  {trial.state}{at}: {what}"


def opening(event: Opened) -> str:
    """Describe a study at its start: space, sampler, metrics, and trials that are done."""
    plan, study = event.plan, event.study
    size = plan.space.size
    space = f"{plural(size, 'point')}" if size is not None else "points without end"
    how = plan.sampler.kind + (f" with {plan.scheduler.kind}" if plan.scheduler.kind != "none" else "")
    done = sum(trial.state != "waiting" for trial in study.trials)
    progress = f"; {done:,} are done" if done else ""
    best = " and ".join(
        ("most " if rises else "least ") + name for name, rises in zip(plan.metrics, plan.rising, strict=True)
    )
    keys = ", ".join(dimension.key for dimension in plan.space.dimensions)
    return f"{study.folder.name}: {plural(plan.trials, 'trial')} of {space} ({keys}), {how}, {best}{progress}"


def point_text(trial: Trial) -> str:
    """Write a point by the last parts of its keys: `lr 0.01  out_features 7`."""
    return "  ".join(f"{key.rpartition('.')[2]} {_value(value)}" for key, value in trial.point.items())


def figure(study: Study, trial: Trial) -> str:
    """Write the metrics of a trial: `valid/error 0.0312`."""
    values = [(name, trial.value(name)) for name in study.metrics]
    return "  ".join(f"{name} {value:.4g}" for name, value in values if value is not None)


@contextmanager
def _live() -> Iterator[Callable[[Any], None]]:
    from rich.live import Live
    from rich.text import Text

    from ..sweeps.events import Noted, Opened

    screen = console(stderr=True)
    study: list[Study] = []
    # Transient: the leaderboard takes the place of the table at the end.
    with Live(console=screen, refresh_per_second=4, transient=True) as live:

        def callback(event: Any) -> None:
            if isinstance(event, Opened):
                study.append(event.study)
                screen.print(Text(visible(opening(event))))
            elif isinstance(event, Noted):
                screen.print(Text(visible(event.text)))
            live.update(table(study[0]))

        yield callback


def table(study: Study) -> Group:
    """Build the live table: the best trials, and those that are running."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("trial", "", "state", "step", *study.metrics):
        made.add_column(
            Text(visible(title, lines=False)),
            justify="right" if title in {"trial", "step", *study.metrics} else "left",
        )
    for trial in _rows(study):
        style = {"failed": "red", "stopped": "dim", "waiting": "yellow"}.get(trial.state, "")
        made.add_row(*(Text(visible(cell, lines=False), style=style) for cell in _cells(study, trial)))
    counts = [f"{len(study.in_state(state))} {state}" for state in STATES]
    return Group(made, Text(f"{', '.join(counts)}; {len(study.refused):,} refused"))


def _rows(study: Study) -> list[Trial]:
    waiting = study.in_state("waiting")[-ROWS // 2 :]
    return [*ranked(study)[: ROWS - len(waiting)], *waiting]


def ranked(study: Study) -> list[Trial]:
    """Sort trials: finished ones, best first; then stopped ones by their last rung, and failed ones."""
    sign = -1 if study.rising[0] else 1

    def place(trial: Trial) -> tuple[Any, ...]:
        value = trial.value(study.metrics[0])
        order = {"finished": 0, "stopped": 1}.get(trial.state, 2)
        known = value is not None and isfinite(value)
        return order, -max(trial.rungs, default=0) if order else 0, not known, sign * (value or 0.0), trial.number

    return sorted((t for t in study.points() if t.state in {"finished", "stopped", "failed"}), key=place)


def _cells(study: Study, trial: Trial) -> list[str]:
    values = [trial.value(name) for name in study.metrics]
    figures = ["" if value is None else f"{value:.4g}" for value in values]
    step = max(trial.rungs, default=0)
    return [str(trial.number), point_text(trial), trial.state, f"{step:,}" if step else "", *figures]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def ending(found: SweepResult, as_json: bool) -> None:
    """Print the result of `dlx sweep`: leaderboard, counts, folders, and how to go on."""
    if as_json:
        document(found.as_json())
        return
    study = found.study
    leaderboard(study, ROWS)
    failed = study.in_state("failed")
    for trial in failed[:FAILED]:
        out(f"failed  trial {trial.number}: {point_text(trial)}: {trial.message}")
    if len(failed) > FAILED:
        out(f"        and {plural(len(failed) - FAILED, 'more trial')}")
    out(_counts(study, found.seconds))
    out(f"study   {study.folder}")
    best = study.best()
    if best is not None:
        which = f"{point_text(best)}" if study.replicate_keys else f"trial {best.number}: {point_text(best)}"
        out(f"best    {which}  {figure(study, best)}")
        for run in best.runs.values() if study.replicate_keys else list(best.runs.values())[:1]:
            out(f"run     {study.runs / run}")
        out(f"again   dlx train {study.folder}")
    if found.note:
        out(f"ended   {found.note}")
    if found.next:
        why = {"budget": "its time is spent", "interrupted": "it was interrupted"}[found.reason]
        out(f"next    {why}; the same command would {found.next}")


def folds(found: SweepResult, as_json: bool) -> None:
    """Print the result of `dlx crossval`: the mean of each metric over the folds, with its interval."""
    from ..sweeps.folds import CrossValidation
    from ..sweeps.folds import document as folds_document

    if as_json:
        document(folds_document(found))
        return
    study, done = found.study, CrossValidation(found.study)
    count = len(done.finished)
    grid = TextTable(
        "metric", ">mean", ">± 95 %", ">std. error", f"folds 1 to {count}", spare=(f"folds 1 to {count}",)
    )
    for metric in done.metrics:
        values = "  ".join(f"{value:.4g}" for value in metric.values[:SHOWN_FOLDS])
        more = "  ..." if count > SHOWN_FOLDS else ""
        grid.add(
            metric.name, f"{metric.mean:.4g}", _two(metric.interval95), _two(metric.standard_error), values + more
        )
    if done.metrics:
        grid.print()
    for trial in study.in_state("failed")[:FAILED]:
        out(f"failed  {point_text(trial)}: {trial.message}")
    if 0 < count < len(study.trials):
        out(f"each mean is over the {count} of {plural(len(study.trials), 'fold')} that have finished")
    out(f"{plural(len(study.trials), 'fold')}: {count} finished; {found.seconds:.1f} s")
    out(f"study   {study.folder}")
    for trial in study.trials[:SHOWN_FOLDS]:
        for run in trial.runs.values():
            out(f"run     {study.runs / run}")
    if found.next:
        why = {"budget": "its time is spent", "interrupted": "it was interrupted"}[found.reason]
        out(f"next    {why}; the same command would {found.next}")


SHOWN_FOLDS = 10
"""Folds whose values and runs are printed; the JSON document has all."""


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def delivered(found: SweepResult, uri: str) -> None:
    """Print where MLflow and the figures show the study."""
    mirrored(found.tracking, uri, shlex.quote(str(found.study.folder)))
    from ..sweeps.figures import FOLDER

    folder = found.study.folder / FOLDER
    if folder.is_dir():
        out(f"figures {folder}")


def _counts(study: Study, seconds: float) -> str:
    each = [f"{count:,} {state}" for state in STATES if (count := len(study.in_state(state)))]
    refused = f"; {plural(len(study.refused), 'point')} refused" if study.refused else ""
    return f"{plural(len(study.trials), 'trial')}: {', '.join(each)}{refused}; {seconds:.1f} s"
