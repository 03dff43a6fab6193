"""What an objective does to its networks before their training, and what it measures of them: that one is
autoregressive, or invertible.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import DlxError, Problem, SpecError
from ..lazy import torch
from ..objectives import Objective
from . import weight_averages
from .phased import Phased

if TYPE_CHECKING:
    from ..data.batch import Batch
    from ..spec import Experiment
    from .fit import Job

EXAMPLES = 256
"""Examples of the training part that are looked at, at most."""


def begin(experiment: Experiment, job: Job, new: bool) -> None:
    """Let the objective set what begins from data, where the networks are `new`, and check them.

    Raises:
        SpecError: the networks are not what the objective takes.
    """
    learner, objective, kind = job.learner, job.objective, type(job.objective)
    sets, checks = kind.begin is not Objective.begin, kind.check_networks is not Objective.check_networks
    values = kind.check_values is not Objective.check_values
    if not isinstance(learner, Phased) or not (sets or checks or values):
        return
    batch, rng = _examples(job), torch.Generator().manual_seed(learner.train.seed)
    if (odd := objective.check_values(batch)) is not None:
        _refuse(experiment, odd)
    learner.module.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if sets and new:
            objective.begin(learner.call, batch, rng)
            for following in learner.followings.values():
                following.begin()
            for name, average in learner.averages.items():  # they begin with the weights
                learner.averages[name] = weight_averages.WeightAverage(
                    average.average, learner.networks[name], learner.span
                )
        found = objective.check_networks(learner.call, batch)
    learner.set_training_mode()
    if found is not None:
        _refuse(experiment, found)


def _refuse(experiment: Experiment, found: Problem) -> None:
    where = "networks" if experiment.networks else "network"
    raise SpecError(replace(found, mark=found.mark or experiment.place(where), path=found.path or where))


def check_values(objective: Objective, batch: Batch, run: str) -> None:
    """Raise DlxError where new examples have values that the objective of a run has no meaning for."""
    if (found := objective.check_values(batch)) is not None:
        message = f"{run} was trained on others: {found.message}"
        raise DlxError(message, hint="Give values as those of its data are, before its preprocessing.")


def _examples(job: Job) -> Batch:
    part = job.parts["train"]
    rng = torch.Generator().manual_seed(job.learner.train.seed)
    return part.take(torch.randperm(len(part), generator=rng)[:EXAMPLES].to(part.x.device))
