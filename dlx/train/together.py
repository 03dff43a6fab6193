"""Several networks judged by what they say together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DlxError, Problem
from ..lazy import torch
from ..objectives import Objective
from ..objectives.together import Together
from . import checkpoint
from .fit import EVALUATION_BATCH
from .parts import Part

if TYPE_CHECKING:
    from torch import nn

    from .fit import Job

SNAPSHOT = "snapshot-{}"
HELD_OUT = ("valid", "test")


def measure(
    members: Sequence[tuple[nn.Module, dict[str, Part]]],
    objective: Objective,
    how: str,
    names: Sequence[str] = HELD_OUT,
) -> dict[str, float]:
    """`valid/ensemble_error` and so on, from networks and the data as each of them takes it, in one order."""
    found: dict[str, float] = {}
    for name in names:
        if all(name in parts for _, parts in members):
            each = [(network, parts[name]) for network, parts in members]
            found |= {f"{name}/ensemble_{key}": value for key, value in _of_part(each, objective, how).items()}
    return found


def _of_part(members: Sequence[tuple[nn.Module, Part]], objective: Objective, how: str) -> dict[str, float]:
    together = Together(objective, how)
    if len({len(part) for _, part in members}) > 1:
        raise DlxError(*UNLIKE)
    with torch.inference_mode():
        for said in zip(*(part.answers(network, EVALUATION_BATCH) for network, part in members), strict=True):
            (_, target), *others = said
            if not all(y is target or torch.equal(y, target) for _, y in others):
                raise DlxError(*UNLIKE)
            together.add_all([outputs for outputs, _ in said], target)
        return together.result()


UNLIKE = (
    Problem(
        "networks can only answer together about the same examples, and theirs differ",
        "Take runs with the same data and the same split, or give it with `--data`.",
    ),
)


def of_snapshots(job: Job, folder: Path, names: Sequence[str] = HELD_OUT, how: str | None = None) -> dict[str, float]:
    """What the last snapshots of a training say together; nothing where none were asked for."""
    ensemble = job.train.ensemble
    if ensemble is None or not ensemble.snapshots:
        return {}
    networks = [copy.deepcopy(job.network).eval() for _ in range(ensemble.snapshots)]
    for network, name in zip(networks, last_snapshots(len(job.cycles), ensemble.snapshots), strict=True):
        checkpoint.load_weights(network, folder, name)
    return measure([(network, job.parts) for network in networks], job.objective, how or ensemble.combine, names)


def last_snapshots(cycles: int, count: int) -> list[str]:
    """The names of the last `count` of so many. DlxError where there are fewer."""
    if cycles < count:
        raise DlxError(f"{count} snapshots are to answer, and there are {cycles}", hint="Ask for fewer.")
    return [SNAPSHOT.format(number) for number in range(cycles - count + 1, cycles + 1)]
