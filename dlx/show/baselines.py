"""Baselines: their figures side by side, and what is to be told of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import plural
from .console import TextTable, document, out, say
from .several import metrics_text
from .training import every, tracked

if TYPE_CHECKING:
    from ..experiment.baselines import BaselineResults, BaselineRun

SHOWN_RUNS = 10
"""Run folders that are printed; the JSON document has all."""


def progress(quiet: bool = False) -> Callable[[BaselineRun], None]:
    """Return a callback that prints each baseline as it is measured, on stderr."""

    def callback(done: BaselineRun) -> None:
        held = {k: v for k, v in done.result.metrics.items() if k.startswith(("valid/", "test/"))}
        where = "" if done.fold is None else f"  fold {done.fold}"
        figures = metrics_text(held or done.result.metrics)
        say(f"{done.baseline.label}{where}  seed {done.result.seed}  {figures}  {done.result.seconds:.1f} s")

    return (lambda _: None) if quiet else callback


def baselines(found: BaselineResults, as_json: bool) -> None:
    """Print the metrics of held-out parts, a row a baseline, with notes and run folders; or the document."""
    if as_json:
        document(found.as_json())
        return
    if found.note:
        say(found.note)
    every = list(dict.fromkeys(m.name for group in found.groups for m in group.metrics))
    names = [name for name in every if name.startswith(("valid/", "test/"))] or every
    grid = TextTable("baseline", *(f">{name}" for name in names), ">s", styles=["cyan"], spare=("s",))
    for group in found.groups:
        figures = {metric.name: metric for metric in group.metrics}
        grid.add(
            group.baseline.label,
            *(_figure(figures[name].mean, figures[name].interval95) if name in figures else "" for name in names),
            f"{sum(run.result.seconds for run in group.runs):.1f}",
        )
    grid.print()
    if found.folds is not None:
        out(f"each figure is a mean over {plural(found.folds, 'fold')}, with half of its 95 % interval")
    for group in found.groups:
        for note in group.notes:
            out(f"{group.baseline.label}: {note}")
    every_run = [run for group in found.groups for run in group.runs]
    for one in every_run[:SHOWN_RUNS]:
        out(f"run     {one.result.run.dir}")
    if len(every_run) > SHOWN_RUNS:
        out(f"        and {plural(len(every_run) - SHOWN_RUNS, 'more run')}: `dlx runs`")


def tracking(found: BaselineResults, state: str, as_json: bool) -> None:
    """Print where MLflow shows the runs."""
    if state and not as_json:
        from .. import track

        runs = [one.result.run for group in found.groups for one in group.runs]
        out(f"mlflow  {tracked(state, track.tracking_uri(runs[-1]), every(runs))}")


def _figure(mean: float, half: float | None) -> str:
    return f"{mean:.4g}" if half is None else f"{mean:.4g} ± {half:.2g}"
