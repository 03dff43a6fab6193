"""A closer look than metrics, at one network or the average of several: worst examples, and metrics by a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images import contact_sheet
from ..errors import DlxError
from . import pictures, row_files
from .slices import coded, column_of, slices_of
from .worst import worst_of

if TYPE_CHECKING:
    from ..data import Dataset, Sets
    from ..data.input_record import InputRecord
    from ..runs.folder import RunFolder
    from ..training.fit import Job
    from .worst import Worst


@dataclass(frozen=True)
class Closer:
    """A closer look beside the metrics: the `wrong` worst examples of each part, with the columns `keep` and their
    `pictures`, and slices `by` a column.
    """

    wrong: int | None = None
    by: str | None = None
    keep: tuple[str, ...] = ()
    pictures: bool = False

    def check_files(self, output: Path | None, png: Path | None) -> None:
        """Raise DlxError where the files to be written have another suffix, or there is nothing to write."""
        if png is not None:
            contact_sheet.check_suffix(png)
        if output is None:
            return
        row_files.check_suffix(output)
        if (self.wrong is None) == (self.by is None):
            which = "neither is asked for" if self.by is None else "both are asked for"
            message = f"`--output` writes the examples of `--wrong` or the slices of `--by`, and {which}"
            raise DlxError(message, hint="Write one of the two.")

    def check(self, runs: Sequence[RunFolder], how: str) -> None:
        """Raise DlxError where options do not go together, or there are several runs that do not average."""
        for name, there in (("--keep", self.keep), ("--png", self.pictures)):
            if there and self.wrong is None:
                raise DlxError(f"`{name}` is about the worst examples", hint="Write `--wrong 20` too.")
        if self.wrong is not None and self.wrong < 1:
            raise DlxError(f"`--wrong {self.wrong}` is no number of examples", hint="Give 1 or more.")
        option = "--wrong" if self.wrong is not None else "--by" if self.by is not None else None
        if option is not None and len(runs) > 1 and how != "average":
            said = {"vote": "a vote", "unanimous": "a unanimous answer"}[how]
            message = f"`{option}` is by the loss of each example, and {said} of {len(runs)} networks has none"
            raise DlxError(message, hint="Write `--combine average`, or name one of them.")


METRICS_ALONE = Closer()


def looked_at(
    jobs: Sequence[Job], source: Dataset, sets: Sets, record: InputRecord, parts: Sequence[str], closer: Closer
) -> dict[str, Any]:
    """Return the worst examples of the parts, with their pictures, and the slices that are asked for, by name."""
    found: dict[str, Any] = {}
    columns = {name: column_of(source, sets, name, parts, "--keep") for name in closer.keep}
    of = None if closer.by is None else column_of(source, sets, closer.by, parts, "--by")
    if closer.wrong is not None:
        worst: list[Worst] = []
        for part in parts:
            ids = [str(one) for name in sets.named("id")[:1] for one in sets.parts()[part].more[name]]
            for one in worst_of(jobs, part, ids, record, closer.wrong):
                beside = {name: [values[part][i] for i in one.places] for name, values in columns.items()}
                worst.append(one.beside(beside))
        found["wrong"] = tuple(worst)
    if closer.pictures:
        found["pictures"] = tuple(pictures.pictures_of(source, sets, w.part, w.places) for w in worst)
    if of is not None:
        names, codes = coded(of, parts, str(closer.by))
        slices = [one for part in parts for one in slices_of(jobs, part, names, codes[part])]
        found |= {"by": closer.by, "slices": tuple(slices)}
    return found
