"""What `dlx analyze` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graph.expect import format_value
from ..spec.analyses import ANALYSES
from .console import TextTable, document, out, say

if TYPE_CHECKING:
    from ..analysis.analyze import Analyzed

MOST_ROWS = 60
"""Rows of a table that are printed; a file has all."""


def kinds(as_json: bool) -> None:
    """Print all kinds with what each shows and its source."""
    classes = [ANALYSES[kind] for kind in ANALYSES]
    if as_json:
        each = [
            {
                "kind": one.kind,
                "shows": one.summary(),
                "source": one.source,
                "trained": one.trained,
                "trains": one.trains,
            }
            for one in classes
        ]
        document({"analyses": each})
        return
    grid = TextTable("kind", "shows", styles=["cyan"])
    for one in classes:
        grid.add(one.kind, one.summary())
    grid.print()


def analyzed(one: Analyzed, path: Path | None, as_json: bool) -> None:
    """Print figures, table and notes of an analysis, and the file that was written."""
    if as_json:
        document({"file": str(path) if path is not None else None, **one.as_json()})
        return
    result = one.result
    seeds = f", {result.seeds} seeds" if result.seeds > 1 else ""
    out(f"{one.name} of {one.subject.name}{seeds}", "bold")
    if source := type(one.analysis).source:
        out(source, "dim")
    grid = TextTable("figure", ">value", styles=["cyan"])
    for name, value in result.figures.items():
        grid.add(name, format_value(value))
    if result.figures:
        grid.print()
    _table(*result.table)
    for note in result.notes:
        say(note)
    if path is not None:
        out(str(path))


def _table(titles: Any, rows: Any) -> None:
    if not rows:
        return
    out()
    right = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(titles))]
    grid = TextTable(*(f">{title}" if number else title for title, number in zip(titles, right, strict=True)))
    for row in rows[:MOST_ROWS]:
        grid.add(*(format_value(cell) for cell in row))
    grid.print()
    if len(rows) > MOST_ROWS:
        out(f"{len(rows) - MOST_ROWS:,} more rows: --json and --out FILE.csv have all", "dim")
