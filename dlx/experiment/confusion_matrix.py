"""The table of a run of which class was taken for which: `confusion.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import DlxError
from ..runs.folder import Run

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
    """The confusion matrices of a run; None where it has none. DlxError where the file is damaged."""
    found = run.read_json(FILE)
    if not found:
        return None
    parts: dict[str, Rows] = {name: found[name] for name in ("train", "valid", "test") if name in found}
    classes = found.get("classes")
    if (
        not isinstance(classes, list)
        or not parts
        or not all(_is_square(rows, len(classes)) for rows in parts.values())
    ):
        raise DlxError(f"{run.dir / FILE} is damaged: it has no table of counts, a row and a column for each class")
    return Confusion(tuple(map(str, classes)), parts)


def _is_square(rows: object, size: int) -> bool:
    """Whether these are as many lists of as many counts."""
    if not isinstance(rows, list) or len(rows) != size:
        return False
    whole = (isinstance(row, list) and len(row) == size and all(isinstance(n, int) for n in row) for row in rows)
    return all(whole)
