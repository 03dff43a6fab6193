"""Lists of kinds, shipped specs, runs and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .console import TextTable, document, out, say

if TYPE_CHECKING:
    from pathlib import Path

    from ..reference.vocabulary import Page
    from ..runs.folder import RunFolder
    from ..track import SyncResult


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


def synced(done: Sequence[tuple[RunFolder, SyncResult]], as_json: bool) -> None:
    """Print `dlx runs sync`: the state of each run that was delivered."""
    if as_json:
        document({"runs": [{"run": run.key, **result.as_json()} for run, result in done]})
        return
    for run, result in done:
        out(f"{run.key}  {result}")
    if not done:
        say("There are no runs to deliver.")
