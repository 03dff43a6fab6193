"""Lists of kinds, shipped specs, runs and deliveries."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .console import TextTable, document, out, say

if TYPE_CHECKING:
    from pathlib import Path

    from ..reference.vocabulary import Page
    from ..runs.folder import RunFolder
    from ..track import SyncResult

MANY = 20
"""Runs of which each is no longer a line of its own."""


def vocabulary(families: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
    """Print `dlx layers`, family by family."""
    for family, kinds in families.items():
        grid = TextTable(columns=2, styles=["cyan"])
        for kind, fields, summary in kinds:
            grid.add(kind, f"{summary}  ({fields})" if fields else summary)
        out(family, "bold")
        grid.print()
    out()
    out("One of them in full: dlx layers KIND.")


def layer_page(page: Page) -> None:
    """Print the page of one kind, as `dlx layers conv`."""
    out(page.kind, "bold cyan")
    out(page.text)
    if page.fields:
        grid = TextTable("field", "type", "default", "", styles=["cyan"])
        for row in page.fields:
            grid.add(*row)
        out()
        grid.print()
    if page.example:
        out()
        out(f"{page.example}\n    {page.numbers}")


def starters(about: Mapping[str, str], as_json: bool) -> None:
    """Show what `dlx new --starter` writes."""
    if as_json:
        document({"starters": [{"name": name, "about": text} for name, text in about.items()]})
        return
    grid = TextTable(columns=2, styles=["cyan"])
    for name, text in about.items():
        grid.add(name, text)
    grid.print()
    out()
    out("Write one: dlx new FILE --starter NAME; NAME may be a shipped spec too (dlx specs).")
    out("For your data: dlx new FILE --data my.csv.")


def shipped_specs(sources: Mapping[str, str], as_json: bool) -> None:
    """Print `dlx specs`: the name and the source of each."""
    if as_json:
        document({"specs": [{"name": name, "source": source} for name, source in sources.items()]})
        return
    grid = TextTable(columns=2, styles=["cyan"])
    for name, source in sources.items():
        grid.add(name, source)
    grid.print()
    out()
    out("Look at one: dlx inspect NAME. Train one that has data: dlx train NAME.")


def waiting(folder: Path) -> None:
    """Say that another process delivers a run or a study, and is waited for."""
    say(f"{folder.parent.name}/{folder.name} is being delivered by another process, which is waited for.")


def synced(done: Iterable[tuple[RunFolder, SyncResult]], due: int, as_json: bool) -> bool:
    """Print `dlx runs sync`: the state of each run as it is delivered; return whether all is in MLflow.

    `due` of them are delivered or asked for in MLflow. Where those that it has already are many, they are counted.
    """
    if due >= MANY and not as_json:
        say(f"{due:,} runs are looked at, one after the other; Ctrl-C loses nothing.")
    found, same = [], []
    for run, result in done:
        found.append((run, result))
        if result.complete and not (result.sent or result.waited):
            same.append((run, result))
        elif not as_json:
            _synced(run, result)
    if as_json:
        document({"runs": [{"run": run.key, **result.as_json()} for run, result in found]})
    elif len(same) >= MANY:
        out(f"{len(same):,} runs  already in MLflow")
    else:
        for run, result in same:
            _synced(run, result)
    if not found and not as_json:
        say("There are no runs to deliver.")
    return all(result.complete for _, result in found)


def _synced(run: RunFolder, result: SyncResult) -> None:
    out(f"{run.key}  {result}")
    sys.stdout.flush()  # in a pipe too: a thousand take minutes
