"""The table of a run of which class was taken for which: `confusion.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .runs import Run

FILE = "confusion.json"
METRIC = "confusion_matrix"
Rows = list[list[int]]


@dataclass(frozen=True)
class Confusion:
    """How many targets of each class, by row, were taken for each class, by column; a table a part of the data."""

    classes: tuple[str, ...]
    parts: Mapping[str, Rows]

    @property
    def last(self) -> tuple[str, Rows]:
        """The part that says most of what is to come."""
        return next((name, self.parts[name]) for name in ("test", "valid", "train") if name in self.parts)


def write(run: Run, names: Sequence[str], tables: Mapping[str, Mapping[str, Rows]]) -> None:
    """Into the run's folder, where the spec asks for it."""
    parts = {name: found[METRIC] for name, found in tables.items() if METRIC in found}
    if parts:
        count = len(next(iter(parts.values())))
        known = list(names) if len(names) == count else [str(number) for number in range(count)]
        run.write_json(FILE, {"rows": "target", "columns": "predicted", "classes": known, **parts})


def read(run: Run) -> Confusion | None:
    """What a run has; None where it has none."""
    found = run.read_json(FILE)
    if not found:
        return None
    parts: dict[str, Rows] = {name: found[name] for name in ("train", "valid", "test") if name in found}
    return Confusion(tuple(found["classes"]), parts)
