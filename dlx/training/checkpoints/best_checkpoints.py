"""The checkpoints of the best evaluations of a run: best-1 is the best, best-2 the next.

A better one renames those below it, the last one first, so that a kill at any moment leaves each of them whole under
one name, or under two names with the same facts: `repair` removes the second and renames the rest.
"""

from __future__ import annotations

import hashlib
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DlxError
from ...metrics import Mode
from ...utils import files
from ..early_stopping import improves
from . import checkpoint

if TYPE_CHECKING:
    from torch import nn

Facts = dict[str, Any]


def name_of(rank: int) -> str:
    return f"best-{rank}"


def ranked_facts(folder: Path) -> list[Facts]:
    """Return the facts of the best checkpoints, the best first."""
    found: list[Facts] = []
    while (about := checkpoint.facts(folder, name_of(len(found) + 1))) is not None and _is_ranked(about):
        found.append(about)
    return found


def _is_ranked(about: Facts) -> bool:
    """Whether facts are those of a checkpoint that is ranked by a value."""
    return all(key in about for key in ("value", "step"))


def as_json(rank: int, facts: Facts) -> dict[str, Any]:
    """Return one of them as `dlx train --json` has it."""
    return {"name": name_of(rank), **{key: facts.get(key) for key in ("metric", "value", "step")}}


def summary(best: list[dict[str, Any]]) -> str:
    """Return a sentence that names all of them."""
    if not best:
        return "no evaluation is kept: none has given a number"
    each = ", ".join(f"{one['name']} {one['value']:.4g} (step {one['step']:,})" for one in best)
    return f"kept by {best[0]['metric']}: {each}"


def save_if_best(folder: Path, network: nn.Module, facts: Facts, mode: Mode, count: int) -> int | None:
    """Save the weights if `value` of the facts is among the best `count`; return the rank. Of equals the earlier
    stays.

    RunError where a weight is not finite or the disk is full; then those there were are whole.
    """
    there, value = ranked_facts(folder), facts["value"]
    rank = 1 + sum(not improves(value, one["value"], mode) for one in there)
    if rank > count or isnan(value):
        return None
    checkpoint.save(folder, "best-new", network, facts)
    for old in range(len(there), rank - 1, -1):
        if old >= count:
            remove(folder, name_of(old))
        else:
            checkpoint.rename(folder, name_of(old), name_of(old + 1))
    checkpoint.rename(folder, "best-new", name_of(rank))
    return rank


def repair(folder: Path, step: int, mode: Mode) -> None:
    """Put the files in order after a kill, for a run resumed from `step`: later ones go, for it repeats them."""
    summary = [checkpoint.facts(folder, path.stem) for path in folder.glob("best-*.json")]
    by_sum = {about["sha256"]: about for about in summary if about and _is_ranked(about) and about["step"] <= step}
    found: dict[int, Facts] = {}
    for path in sorted(folder.glob("best-*.safetensors")):
        about = by_sum.get(_sum(path))
        if about is None or about["step"] in found:
            _remove_file(path)
            continue
        found[about["step"]] = about
        checkpoint.rename(folder, path.stem, f"best-at-{about['step']}", about)
    whole = {f"best-at-{one}" for one in found}
    for path in folder.glob("best-*.json"):
        if path.stem not in whole:
            _remove_file(path)
    sign = -1 if mode == "max" else 1
    ranked = sorted(found, key=lambda one: (sign * found[one]["value"], one))
    for rank, one in enumerate(ranked, 1):
        checkpoint.rename(folder, f"best-at-{one}", name_of(rank))


def _sum(path: Path) -> str:
    try:
        return hashlib.sha256(files.read(path)).hexdigest()
    except OSError:
        return ""


def _remove_file(path: Path) -> None:
    """Remove a file that is no checkpoint. DlxError where it is a folder, which may hold anything."""
    try:
        path.unlink()
    except OSError as error:
        raise DlxError(f"{path} is in the way: {files.reason(error)}", hint="Take it away.") from error


def remove(folder: Path, name: str) -> None:
    for suffix in (".json", ".safetensors"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)
