"""The confusion matrix of a run: `confusion.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    head: str = ""
    """The head that it is of; empty for one objective."""

    @property
    def last(self) -> tuple[str, Rows]:
        """The matrix of the part that is the best estimate for new data: test, else valid, else train."""
        return next((name, self.parts[name]) for name in ("test", "valid", "train") if name in self.parts)


def write(run: RunFolder, names: Mapping[str, Sequence[str]], tables: Mapping[str, Mapping[str, Rows]]) -> None:
    """Write the confusion matrices of a run's last evaluations; nothing where the spec does not measure them.

    Arguments:
        names: names of the classes of each head; that of one objective is empty.
        tables: by part, and by `confusion_matrix` or `HEAD/confusion_matrix`.
    """
    found = {}
    for head, own in names.items():
        key = f"{head}/{METRIC}" if head else METRIC
        parts = {part: of_part[key] for part, of_part in tables.items() if key in of_part}
        if parts:
            count = len(next(iter(parts.values())))
            labels = list(own) if len(own) == count else [str(number) for number in range(count)]
            found[head] = {"classes": labels, **parts}
    if found:
        heads = found.get("", {"heads": found})
        run.write_json(FILE, {"rows": "target", "columns": "predicted", **heads})


def read(run: RunFolder) -> list[Confusion]:
    """Return the confusion matrices of a run, one a head; none where it has none. DlxError for a damaged file."""
    found = run.read_json(FILE)
    if not found:
        return []
    heads = found.get("heads", {"": found})
    if not isinstance(heads, dict) or not heads:
        raise _damaged(run)
    return [_of_head(run, str(head), one) for head, one in heads.items()]


def _of_head(run: RunFolder, head: str, found: Any) -> Confusion:
    if not isinstance(found, dict):
        raise _damaged(run)
    parts: dict[str, Rows] = {name: found[name] for name in ("train", "valid", "test") if name in found}
    classes = found.get("classes")
    if (
        not isinstance(classes, list)
        or not parts
        or not all(_is_square(rows, len(classes)) for rows in parts.values())
    ):
        raise _damaged(run)
    return Confusion(tuple(map(str, classes)), parts, head)


def _damaged(run: RunFolder) -> DlxError:
    what = "it has no table of counts, a row and a column for each class"
    return DlxError(f"{run.dir / FILE} is damaged: {what}")


def _is_square(rows: object, size: int) -> bool:
    """Whether these are `size` lists of `size` integers."""
    if not isinstance(rows, list) or len(rows) != size:
        return False
    whole = (isinstance(row, list) and len(row) == size and all(isinstance(n, int) for n in row) for row in rows)
    return all(whole)
