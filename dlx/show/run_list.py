"""The list of runs: a row for the runs of one spec, and one for a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import plural
from ..trained.run_list import ListedRun, ListedStudy, Row, RunList
from . import forms
from .console import TextTable, document, out, say
from .forms import Number

SPARE = ("seconds", "steps", "tags")
"""Columns that are left out first where a terminal is narrow."""
MOST_KEYS = 3
"""Values that tell runs of one name apart, in a row of a terminal."""


def run_list(found: RunList, metrics: Sequence[str], root: Path, form: forms.Form) -> None:
    """Print `dlx runs` in a form, with the errors of damaged runs at the end."""
    if form == "json":
        document(as_json(found))
        return
    if not found.rows:
        say(f"There are no runs in {root}. `dlx train SPEC` makes one." if not found.narrowed else "No run is so.")
        return
    with forms.printed_as(form):
        table(found, metrics).print()
    if found.beyond:
        say(f"{plural(found.beyond, 'row')} more: `--limit` says how many are shown.")
    errors = [one.error for one in found.runs]
    errors += [row.error for row in found.rows if isinstance(row, ListedStudy)]
    for error in filter(None, errors):
        say(error)


def as_json(found: RunList) -> dict[str, Any]:
    """Return the document of `dlx runs --json`."""
    rows = [(row, apart) for row, apart in zip(found.rows, found.differs, strict=True) if isinstance(row, Row)]
    return {
        "runs": [run_as_json(one) for one in found.runs],
        "groups": [row.as_json(apart) for row, apart in rows],
        "studies": [row.as_json() for row in found.rows if isinstance(row, ListedStudy)],
    }


def run_as_json(one: ListedRun) -> dict[str, Any]:
    """Return a run; of a damaged one with the reason as its `error`."""
    about: dict[str, Any] = {"run": one.run.key, "dir": str(one.run.dir), "status": one.status}
    if one.error:
        about |= {"steps": None, "seconds": None, "metrics": {}, "stopped_early": False}
        return about | {"error": one.error}
    end = one.end
    return {
        **about,
        "steps": end.get("step"),
        "seconds": end.get("seconds"),
        "metrics": one.metrics,
        "stopped_early": end.get("stopped_early", False),
        "started": one.started,
        "seed": one.draw[0],
        "fold": one.draw[1],
        "tags": one.tags,
        **({"baseline": one.baseline} if one.baseline else {}),
        **({"members": one.members} if one.members else {}),
        **({"stages": one.stages} if one.stages else {}),
        **{key: end[key] for key in ("best", "average", "kept") if key in end},
        **({"remaining": one.remaining} if one.remaining is not None else {}),
    }


def table(found: RunList, metrics: Sequence[str]) -> TextTable:
    """Return the table: a column for each of `metrics`, else all held-out ones, in one cell on a terminal."""
    form = forms.FORM.get()
    chosen = list(metrics)
    if not chosen and form != "table":
        chosen = _common(found) if form != "csv" else []
        chosen = chosen or list(
            dict.fromkeys(name for row in found.rows for name in row.metrics if is_held_out(name))
        )
    columns: dict[str, Sequence[str]] = {
        "run": [_name(row) for row in found.rows],
        "of": [_members(row) for row in found.rows],
        "status": [row.status for row in found.rows],
        "baseline": [row.first.baseline if isinstance(row, Row) else "" for row in found.rows],
        "stages": [", ".join(row.first.stages) if isinstance(row, Row) else "" for row in found.rows],
        "differs": [_differs(apart, form) for apart in found.differs],
        "tags": [", ".join(f"{key} {value}".strip() for key, value in row.tags.items()) for row in found.rows],
        ">steps": [_steps(row) for row in found.rows],
        ">seconds": [_seconds(row) for row in found.rows],
    }
    always = ("run", "status", ">steps", ">seconds")
    shown = {title: cells for title, cells in columns.items() if title in always or any(cells)}
    for name in chosen:
        shown[f">{name}"] = [_metric(row, name) for row in found.rows]
        halves = [_half(row, name) for row in found.rows]
        if form == "csv" and any(half.value is not None for half in halves):
            shown[f">± {name}"] = halves
    if not chosen:
        shown["metrics"] = [_metrics(row) for row in found.rows]
    grid = TextTable(*shown, styles=["cyan"], spare=SPARE)
    for cells in zip(*shown.values(), strict=True):
        grid.add(*cells)
    return grid


def _common(found: RunList) -> list[str]:
    """Return the held-out metrics that all rows with results have."""
    each = [list(row.metrics) for row in found.rows if row.metrics]
    return [name for name in each[0] if is_held_out(name) and all(name in one for one in each)] if each else []


def is_held_out(name: str) -> bool:
    return name.startswith(("test/", "valid/"))


def _name(row: Row | ListedStudy) -> str:
    return row.first.run.key if isinstance(row, Row) else row.key


def _members(row: Row | ListedStudy) -> str:
    return row.members if isinstance(row, Row) else plural(row.trials.total(), "trial")


def _differs(apart: dict[str, str], form: str) -> str:
    shown = [f"{key} {value}" for key, value in apart.items()]
    if form == "table" and len(shown) > MOST_KEYS:
        shown = [*shown[:MOST_KEYS], f"and {len(shown) - MOST_KEYS} more"]
    return ", ".join(shown)


def _steps(row: Row | ListedStudy) -> Number:
    step = row.value("steps") if isinstance(row, Row) and not row.first.baseline else None
    return (
        Number("", None)
        if not isinstance(step, int | float)
        else Number(f"{step:,.0f}", int(step) if float(step).is_integer() else step)
    )


def _seconds(row: Row | ListedStudy) -> Number:
    """Return the time of all runs of a row together."""
    each = [one.end.get("seconds") for one in row.runs] if isinstance(row, Row) else [row.seconds]
    known = [one for one in each if one is not None]
    return Number(f"{sum(known):.1f}", round(sum(known), 3)) if known else Number("", None)


def _metric(row: Row | ListedStudy, name: str) -> Number:
    if name not in row.metrics:  # another number that is known of a run, such as `params`
        value = row.value(name)
        return Number(f"{value:.4g}", value) if isinstance(value, int | float) else Number("", None)
    mean, half = row.metrics[name]
    csv = forms.FORM.get() == "csv"
    return Number(f"{mean:.4g}" if half is None or csv else f"{mean:.4g} ± {half:.2g}", mean)


def _half(row: Row | ListedStudy, name: str) -> Number:
    half = row.metrics.get(name, (0.0, None))[1]
    return Number("" if half is None else f"{half:.2g}", half)


def _metrics(row: Row | ListedStudy) -> str:
    names = [name for name in row.metrics if is_held_out(name)] or (
        list(row.metrics) if isinstance(row, ListedStudy) else []
    )
    found = [f"{name} {_metric(row, name)}" for name in names]
    if isinstance(row, Row):
        best = (row.first.end.get("kept") or []) if len(row.runs) == 1 else []
        found += [f"{one['name']} {one['value']:.4g} (step {one['step']:,})" for one in best]
        if row.first.remaining is not None:
            found.append(f"remaining {row.first.remaining:,}")
    return "  ".join(found)


def tagged(runs: Sequence[ListedRun], as_json: bool) -> None:
    """Print the tags of runs."""
    if as_json:
        document({"runs": [{"run": one.run.key, "tags": one.tags} for one in runs]})
        return
    for one in runs:
        words = ", ".join(f"{key}={value}" if value else key for key, value in one.tags.items())
        out(f"{one.run.key}  {words or 'no tags'}")
