"""The checkpoints of the best evaluations of a run: best-1 is the best, best-2 the next.

A better one moves those below it down by a name, the last one first, so that a kill at any moment leaves each of them
whole under one name, or under two whose facts tell it apart: `repair` puts that in order.
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
    """The facts of those that are kept, the best first."""
    found: list[Facts] = []
    while (about := checkpoint.facts(folder, name_of(len(found) + 1))) is not None and _is_ranked(about):
        found.append(about)
    return found


def _is_ranked(about: Facts) -> bool:
    """Whether facts are those of one that was kept for its value, and not of another checkpoint."""
    return all(key in about for key in ("value", "step"))


def as_json(rank: int, facts: Facts) -> dict[str, Any]:
    """One of them as `dlx train --json` has it."""
    return {"name": name_of(rank), **{key: facts.get(key) for key in ("metric", "value", "step")}}


def summary(best: list[dict[str, Any]]) -> str:
    """All of them in a line."""
    if not best:
        return "no evaluation is kept: none has given a number"
    each = ", ".join(f"{one['name']} {one['value']:.4g} (step {one['step']:,})" for one in best)
    return f"kept by {best[0]['metric']}: {each}"


def save_if_best(folder: Path, network: nn.Module, facts: Facts, mode: Mode, count: int) -> int | None:
    """Keep the weights where `value` of the facts is among the best `count`: at which rank. Of equals the earlier is.

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
    """What a kill left, in order, for a run that goes on from `step`: it comes by later evaluations again."""
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
    """Take away what is no checkpoint. DlxError where it is a folder, which may hold anything."""
    try:
        path.unlink()
    except OSError as error:
        raise DlxError(f"{path} is in the way: {files.reason(error)}", hint="Take it away.") from error


def remove(folder: Path, name: str) -> None:
    for suffix in (".json", ".safetensors"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)
