"""The confusion matrix of a run as a table: rows are targets, columns predictions."""

from __future__ import annotations

from ..errors import shortened
from ..experiment import confusion_matrix
from ..runs.folder import RunFolder
from .console import TextTable, out

MOST = 20
"""Largest number of classes whose table is printed; others are in the file only."""
LONGEST = 24
"""Characters of a class name that are printed."""


def matrix(run: RunFolder) -> None:
    """Print the confusion matrix of a run, of each head where there are several; nothing where it has none."""
    for found in confusion_matrix.read(run):
        _of_head(run, found)


def _of_head(run: RunFolder, found: confusion_matrix.Confusion) -> None:
    part, rows = found.last
    part = f"{part}/{found.head}" if found.head else part
    if len(rows) > MOST:
        out(f"{part}: which of the {len(rows)} classes was taken for which is in {run.dir / confusion_matrix.FILE}")
        return
    names = [shortened(name, LONGEST) for name in found.classes]
    grid = TextTable(f"{part}: target", *(f">{name}" for name in names), ">right", styles=["bold"])
    for name, row in zip(names, rows, strict=True):
        hits, all_ = row[len(grid.rows)], sum(row)
        grid.add(name, *(f"{count:,}" if count else "." for count in row), f"{hits / all_:.0%}" if all_ else "")
    grid.print()
