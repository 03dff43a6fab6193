"""What an objective measures of its networks before their training: that one is autoregressive, or invertible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import SpecError
from ..lazy import torch
from ..objectives import Objective
from .phased import Phased

if TYPE_CHECKING:
    from ..spec import Experiment
    from .fit import Job

EXAMPLES = 64
"""Examples of the training part that it is measured on, at most."""


def check(experiment: Experiment, job: Job) -> None:
    """Raise SpecError where the networks of a new training are not what its objective takes."""
    learner, objective = job.learner, job.objective
    if not isinstance(learner, Phased) or type(objective).check_networks is Objective.check_networks:
        return
    if job.progress.step:
        return  # it was checked as it began
    part = job.parts["train"]
    batch = part.take(torch.arange(min(len(part), EXAMPLES), device=part.x.device))
    learner.module.eval()
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        found = objective.check_networks(learner.call, batch)
    learner.set_training_mode()
    if found is not None:
        where = ("network",) if not experiment.networks else ("networks",)
        raise SpecError(replace(found, mark=found.mark or experiment.place(*where), path=found.path or where[0]))
