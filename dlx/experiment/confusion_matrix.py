"""The confusion matrix of a run: `confusion.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import DlxError
from ..runs.folder import RunFolder

FILE = "confusion.json"
METRIC = "confusion_matrix"
Rows = list[list[int]]


@dataclass(frozen=True)
class Confusion:
    """Confusion matrices, one a part of the data: targets of each class by row, predictions by column."""

    classes: tuple[str, ...]
    parts: Mapping[str, Rows]

    @property
    def last(self) -> tuple[str, Rows]:
        """The matrix of the part that is the best estimate for new data: test, else valid, else train."""
        return next((name, self.parts[name]) for name in ("test", "valid", "train") if name in self.parts)


def write(run: RunFolder, names: Sequence[str], tables: Mapping[str, Mapping[str, Rows]]) -> None:
    """Write the confusion matrices of a run's last evaluations; nothing where the spec does not measure them."""
    parts = {name: found[METRIC] for name, found in tables.items() if METRIC in found}
    if parts:
        count = len(next(iter(parts.values())))
        labels = list(names) if len(names) == count else [str(number) for number in range(count)]
        run.write_json(FILE, {"rows": "target", "columns": "predicted", "classes": labels, **parts})


def read(run: RunFolder) -> Confusion | None:
    """Return the confusion matrices of a run; None where it has none. DlxError where the file is damaged."""
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
    """Whether these are `size` lists of `size` integers."""
    if not isinstance(rows, list) or len(rows) != size:
        return False
    whole = (isinstance(row, list) and len(row) == size and all(isinstance(n, int) for n in row) for row in rows)
    return all(whole)
