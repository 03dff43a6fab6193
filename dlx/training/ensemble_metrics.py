"""Metrics of the combined outputs of several networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.batch import Batch
from ..errors import DlxError, Problem
from ..lazy import torch
from ..objectives import Supervised
from ..objectives.ensemble import EnsembleEvaluation, check_combine
from ..spec import Experiment, objective_of
from .batches.data_part import DataPart
from .checkpoints import checkpoint
from .learner import EVALUATION_BATCH

if TYPE_CHECKING:
    from torch import nn

    from .fit import Job

SNAPSHOT = "snapshot-{}"
HELD_OUT = ("valid", "test")


def problems(experiment: Experiment) -> list[Problem]:
    """Return the problems of an ensemble of this network, apart from the data."""
    ensemble = experiment.train.ensemble if experiment.train is not None else None
    if ensemble is None or experiment.data is None:
        return []
    objective = objective_of(experiment)
    if not isinstance(objective, Supervised):
        message = f"an ensemble answers for one network that learns targets, and `{objective.kind}` has phases"
        return [Problem(message, "Drop `ensemble`.", experiment.place("train", "ensemble"), "train.ensemble")]
    found = check_combine(objective, ensemble.combine)
    if found is None:
        return []
    place = experiment.place("train", "ensemble", "combine")
    return [Problem(found.message, found.hint, place, "train.ensemble")]


def check_cycles(experiment: Experiment, examples: int) -> None:
    """Raise DlxError where a training has fewer cycles than snapshots."""
    train = experiment.train
    if train is None or train.ensemble is None or not train.ensemble.snapshots:
        return
    span, wanted = train.span(examples), train.ensemble.snapshots
    cycles = train.schedule.cycles(span)
    if len(cycles) >= wanted:
        return
    there = f"{len(cycles)} in {span.steps:,} steps of {span.per_epoch:,} an epoch"
    raise DlxError(
        Problem(
            f"{wanted} snapshots want {wanted} cycles, and {train.schedule.kind} ends {there}",
            "Train longer, or make the cycles shorter: `dlx train --plot-schedule` shows them.",
            experiment.place("train", "ensemble"),
            "train.ensemble.snapshots",
        )
    )


def measure(
    members: Sequence[tuple[nn.Module, dict[str, DataPart]]],
    objective: Supervised,
    how: str,
    names: Sequence[str] = HELD_OUT,
) -> dict[str, float]:
    """Return `valid/ensemble_error` and so on, from networks and the data as each takes it, in one order."""
    found: dict[str, float] = {}
    for name in names:
        if all(name in parts for _, parts in members):
            each = [(network, parts[name]) for network, parts in members]
            found |= {f"{name}/ensemble_{key}": value for key, value in _of_part(each, objective, how).items()}
    return found


def _of_part(members: Sequence[tuple[nn.Module, DataPart]], objective: Supervised, how: str) -> dict[str, float]:
    together = EnsembleEvaluation(objective, how)
    with torch.inference_mode():
        for outputs, batch in answers_of_each(members):
            together.add_all(outputs, objective.target(batch))
        return together.result()


def answers_of_each(members: Sequence[tuple[Callable[..., Any], DataPart]]) -> Iterator[tuple[list[Any], Batch]]:
    """Iterate over a part: the outputs of each network for a batch, and the batch of the first. DlxError where the
    networks are given different examples.
    """
    if len({len(part) for _, part in members}) > 1:
        raise DlxError(*DIFFERENT_EXAMPLES)
    for answers in zip(*(part.answers(network, EVALUATION_BATCH) for network, part in members), strict=True):
        (_, first), *others = answers
        if not all(_same_targets(first, batch) for _, batch in others):
            raise DlxError(*DIFFERENT_EXAMPLES)
        yield [outputs for outputs, _ in answers], first


def _same_targets(one: Batch, other: Batch) -> bool:
    pairs = ((one[name], other[name]) for name in one.names.targets)
    return all(a is b or torch.equal(a, b) for a, b in pairs)


DIFFERENT_EXAMPLES = (
    Problem(
        "networks can only answer together about the same examples, and theirs differ",
        "Take runs with the same data and the same split, or give it with `--data`.",
    ),
)


def of_snapshots(job: Job, folder: Path, names: Sequence[str] = HELD_OUT, how: str | None = None) -> dict[str, float]:
    """Return the metrics of the combined outputs of a training's last snapshots; empty where it takes none."""
    ensemble = job.train.ensemble
    if ensemble is None or not ensemble.snapshots:
        return {}
    networks = [copy.deepcopy(job.network).eval() for _ in range(ensemble.snapshots)]
    for network, name in zip(networks, last_snapshots(len(job.cycles), ensemble.snapshots), strict=True):
        checkpoint.load_weights(network, folder, name)
    return measure(
        [(network, job.parts) for network in networks], job.supervised.objective, how or ensemble.combine, names
    )


def last_snapshots(cycles: int, count: int) -> list[str]:
    """Return the names of the last `count` snapshots of `cycles`. DlxError where there are fewer."""
    if cycles < count:
        raise DlxError(f"{count} snapshots are to answer, and there are {cycles}", hint="Ask for fewer.")
    return [SNAPSHOT.format(number) for number in range(cycles - count + 1, cycles + 1)]
