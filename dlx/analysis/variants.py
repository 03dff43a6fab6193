"""Trainings of one spec with a few changes each: packed where shapes permit, and read back where they are finished.

Each is a run of its own, `RUNS/NAME/trial-HASH` by the hash of its resolved spec, as the trials of a study are: an
analysis that was killed goes on with the same command, and two that contain the same training share its run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Problem, RunError, SpecError
from ..graph import Graphs, trace_all
from ..lazy import torch
from ..objectives import Supervised
from ..runs.folder import RunFolder
from ..spec import Experiment, missing_sections

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.batches.data_part import DataPart

TOGETHER = 16
"""Trainings that are one stacked network at most."""
ASIDE = ("expect", "analyses", "sweep")
"""Sections on which no training depends."""


@dataclass(frozen=True)
class Variant:
    """One changed spec, its networks as planned, and a finished run for each of its seeds."""

    changes: tuple[str, ...]
    experiment: Experiment
    graphs: Graphs
    runs: tuple[RunFolder, ...]
    metrics: tuple[dict[str, float], ...]

    def values(self, metric: str) -> list[float]:
        """Return a metric at the end of each run. RunError where one does not report it."""
        if absent := [run for run, found in zip(self.runs, self.metrics, strict=True) if metric not in found]:
            known = ", ".join(sorted(self.metrics[0]))
            raise RunError(f"{absent[0].key} reports no {metric}", hint=f"It reports {known}.")
        return [found[metric] for found in self.metrics]


@dataclass(frozen=True)
class Plan:
    """A changed spec before it is trained: one experiment for each seed, and the networks."""

    changes: tuple[str, ...]
    experiments: tuple[Experiment, ...]
    graphs: Graphs


def planned(base: Experiment, changes: Sequence[str], seeds: int = 1, draw: str = "") -> Plan:
    """Plan a changed spec, without torch. SpecError where it cannot be trained.

    `draw` is a key that gets the seed of each training too, such as `data.curve.seed`.
    """
    changed = base.changed([*(f"~{key}" for key in ASIDE if base.written.at(key) is not None), *changes])
    if missing := missing_sections(changed, "data", "train"):
        raise SpecError(*missing)
    train = changed.train
    assert train is not None
    if train.ensemble is not None:
        message = "an ensemble is several networks, and an analysis trains one network at a time"
        raise SpecError(
            Problem(message, "Take it out: `~train.ensemble`.", changed.place("train", "ensemble"), "train.ensemble")
        )
    further = [[f"++{draw}={train.seed + i}"] if draw else [] for i in range(seeds)]
    each = tuple(changed.with_seed(train.seed + i, more).with_overrides(()) for i, more in enumerate(further))
    return Plan(tuple(changes), each, trace_all(each[0]))


def trained(plans: Sequence[Plan], runs: Path, together: int = TOGETHER) -> tuple[Variant, ...]:
    """Train all seeds of all plans to their ends, or read them back. RunError with the first that fails.

    Ctrl-C is a KeyboardInterrupt once running trainings have saved their state.
    """
    from ..sweeps.study import run_name
    from ..sweeps.workers.base import Task, Trainer
    from ..training import process
    from ..training.prepared import ready

    process.tune()
    trainer, tasks = Trainer(together), list[Task]()
    for number, plan in enumerate(plans):
        for experiment in plan.experiments:
            ready(experiment, plan.graphs)
            folder = (runs / experiment.name / run_name(experiment.resolved())).absolute()
            experiment.keep_plugins(folder)
            trainer.remember(str(folder), experiment, plan.graphs)
            assert experiment.train is not None
            tasks.append(Task(number, experiment.train.seed, str(folder), experiment.resolved()))
    ended: dict[tuple[int, int], dict[str, float]] = {}
    for outcome in trainer.advance(tasks, lambda: False):
        if outcome.ended == "failed":
            which = " ".join(plans[outcome.number].changes) or "the spec as it is"
            raise RunError(f"the training of {which}, seed {outcome.seed}, failed: {outcome.message}")
        if outcome.ended == "cut off":
            raise KeyboardInterrupt
        ended[outcome.number, outcome.seed] = outcome.metrics
    found = []
    for number, plan in enumerate(plans):
        mine = [task for task in tasks if task.number == number]
        metrics = tuple(ended[number, task.seed] for task in mine)
        found.append(
            Variant(plan.changes, plan.experiments[0], plan.graphs, tuple(RunFolder(t.run) for t in mine), metrics)
        )
    return tuple(found)


def outputs(variant: Variant, objective: Supervised, part: DataPart) -> tuple[Tensor, ...]:
    """Return the main output (examples, *output) for a part of each trained network, in evaluation."""
    from ..network import build
    from ..training.checkpoints import checkpoint
    from ..training.learner import EVALUATION_BATCH

    found = []
    for run in variant.runs:
        network = build(variant.graphs.one).eval()
        checkpoint.load_weights(network, run.dir / "checkpoints")
        with torch.inference_mode():
            answers = [objective.main(out) for out, _ in part.answers(network, EVALUATION_BATCH)]
        found.append(torch.cat(answers))
    return tuple(found)
