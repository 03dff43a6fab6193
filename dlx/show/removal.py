"""What is removed of runs, and the disk that it frees."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import plural
from ..shapes import bytes_text
from ..trained.removal import Removal
from .console import TextTable, document, out, say


def to_remove(found: Sequence[Removal], as_json: bool) -> None:
    """Print a row for each run that something is to be removed of."""
    if as_json or not found:
        return
    grid = TextTable("run", "what", ">disk", styles=["cyan"])
    for one in found:
        grid.add(one.run.key, one.what, bytes_text(one.bytes))
    grid.print()


def removed(found: Sequence[Removal], freed: int | None, as_json: bool) -> None:
    """Print what was removed and is free now; None where nothing was."""
    total = sum(one.bytes for one in found) if freed is None else freed
    if as_json:
        document({"runs": [one.run.key for one in found], "bytes": total, "removed": freed is not None})
        return
    if not found:
        say("There is nothing to remove.")
        return
    out(f"{bytes_text(total)} would be free" if freed is None else f"{bytes_text(total)} are free")
    whole = [one for one in found if one.what == "run" and one.delivered]
    if whole:
        say(f"MLflow keeps what it has of {plural(len(whole), 'run')}: `dlx ui` shows it, and deletes it there.")
