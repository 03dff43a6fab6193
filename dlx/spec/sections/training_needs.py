"""What a training takes of an experiment: its objective, written or implied by the data; sections it cannot lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import Mark, Problem, SpecError
from .experiment import Experiment

if TYPE_CHECKING:
    from ...objectives import Objective, Supervised

NO_OBJECTIVE = (
    "An objective for several networks says which of them a step moves, and by which loss: `distillation`. "
    "Adversarial and variational ones come as kinds of objective, and a package may bring one (entry point "
    "`dlx.objectives`)."
)


def objective_of(experiment: Experiment) -> Objective:
    """Return the objective, or the one that the data implies. SpecError where several networks have none."""
    if experiment.objective is not None:
        return experiment.objective
    if experiment.networks:
        names = ", ".join(f"`{name}`" for name in experiment.networks)
        message = f"there is no `objective` to train the networks {names} with"
        raise SpecError(Problem(message, NO_OBJECTIVE, experiment.place("networks"), "objective"))
    assert experiment.data is not None
    from ...objectives import default_objective

    return default_objective(experiment.data.facts())


def supervised_of(experiment: Experiment) -> Supervised:
    """Return the objective, where it is supervised: one network that learns targets. SpecError for any other."""
    from ...objectives import Supervised

    objective = objective_of(experiment)
    if isinstance(objective, Supervised):
        return objective
    message = f"`objective: {objective.kind}` has phases of its own, and this is for one network that learns targets"
    hint = (
        "`dlx train`, `sweep`, `crossval`, `evaluate`, `sample`, `compare`, `reproduce`, `inspect`, `explain` and "
        "`prove-resume` take it."
    )
    raise SpecError(Problem(message, hint, experiment.place("objective"), "objective"))


def missing_sections(experiment: Experiment, *names: str) -> list[Problem]:
    """Return a problem for each section that training needs and the spec lacks."""
    hints = {
        "data": "Write where examples come from: `data: digits`.",
        "train": "Write how long to train: `train: {epochs: 10}`.",
    }
    place = Mark(str(experiment.path))
    absent = [name for name in names if experiment.root.at(name) is None]
    return [Problem(f"there is no `{name}` to train with", hints[name], place, name) for name in absent]
