"""Claims on the results of a training whose metric nothing measures, told before the training."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import Problem, did_you_mean
from ..spec import Experiment
from ..spec.sections.expect import CLAIMING, RESULTS, claims_of

if TYPE_CHECKING:
    from ..data import Facts
    from ..objectives import Objective

ENSEMBLE = "ensemble_"
"""Before the metrics of the members of an ensemble together."""


def problems(experiment: Experiment, facts: Facts | None) -> list[Problem]:
    """Return a problem for each claim on a metric that the objective does not measure.

    An objective of another package may measure what it does not list, and is taken at its word.
    """
    sections = [node for name in CLAIMING if (node := experiment.root.at(name)) is not None]
    if not any(name.startswith(RESULTS) for node in sections for name in node.map):
        return []  # before claims are parsed, which takes its time
    objective = _objective(experiment, facts)
    if objective is None or not type(objective).__module__.startswith("dlx."):
        return []
    claimed = [one for one in claims_of(experiment.root, variables=experiment.vars)[0] if one.trained]
    known = measured(objective, experiment)
    found = []
    for claim in claimed:
        metric = claim.quantity.partition("/")[2]
        if not _is_one(metric, known):
            hint = did_you_mean(metric, known, "the metrics")
            message = f"`{claim.quantity}` is measured by nothing: the objective is {objective.kind}"
            found.append(Problem(message, hint, claim.mark, claim.path))
    return found


def measured(objective: Objective, experiment: Experiment) -> list[str]:
    """Return the names of the metrics of a training, without the part that they are of."""
    known = [*objective.modes(), *objective.also_measured]
    together = experiment.train is not None and experiment.train.ensemble is not None
    return [*known, *(f"{ENSEMBLE}{name}" for name in known if together)]


def _is_one(metric: str, known: Collection[str]) -> bool:
    """Whether a metric is known, or is one of a label: `f1/sky`, where labels are known once the data is read."""
    return metric in known or metric.rpartition("/")[0] in known


def _objective(experiment: Experiment, facts: Facts | None) -> Objective | None:
    """Return the objective, or the one that the data implies; None where neither is known."""
    if experiment.objective is not None or experiment.networks or facts is None or experiment.problems:
        return experiment.objective
    from ..objectives import default_objective  # not at the top: many specs have no objective

    return default_objective(facts)
