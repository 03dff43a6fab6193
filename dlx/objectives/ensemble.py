"""What several networks say together, and how good that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem
from ..lazy import F, torch
from .supervised import Evaluation, Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Outputs


def check_combine(objective: Supervised, how: str) -> Problem | None:
    """What stands against answering together."""
    if not objective.loss.averageable:
        return Problem(
            f"the outputs of {objective.loss.kind} have no mean that is an output too, so its networks cannot answer "
            "together",
            "Compare them one by one: `seeds: 5`.",
        )
    if how != "average" and objective.measures != "classes":
        word = "networks vote for classes" if how == "vote" else "networks are unanimous about classes"
        return Problem(f"{word}, and {objective.kind} has values", "Write `combine: average`.")
    return None


def combined(objective: Supervised, outputs: Tensor, how: str) -> Tensor:
    """Outputs of several networks, (members, N, ...), as one output (N, ...).

    With `average` it stands for the mean probability, or the mean. With `vote` and `unanimous` only its order means
    something: the classes as they come first.
    """
    if how == "average":
        return objective.loss.averaged(outputs)
    return (_decided if objective.one_logit else _ranked)(objective, outputs, how)


def _ranked(objective: Supervised, outputs: Tensor, how: str) -> Tensor:
    """Votes first; of classes with as many votes, the one with the larger mean probability; then the first."""
    averaged = objective.loss.averaged(outputs)
    classes = averaged.shape[1]
    votes = outputs.argmax(2)
    if how == "unanimous":
        votes = votes[0].where((votes == votes[0]).all(0), 0)[None]
    counts = F.one_hot(votes, classes).sum(0).movedim(-1, 1)
    place = averaged.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (counts * classes - place).to(averaged.dtype)


def _decided(objective: Supervised, outputs: Tensor, how: str) -> Tensor:
    """1 for yes and -1 for no, which are so for a logit and for a value that is held against a half."""
    said = objective.loss.predict(outputs)
    yes, members = (said > 0.5).sum(0), len(outputs)
    tie = (2 * yes == members) & (said.mean(0) > 0.5)
    most = (2 * yes > members) | tie if how == "vote" else yes == members
    return 2 * most.to(outputs.dtype) - 1


class EnsembleEvaluation(Evaluation):
    """Gathers what an objective measures of several networks. Votes have no loss, and no metric of probabilities."""

    def __init__(self, objective: Supervised, how: str) -> None:
        self.how = how
        if how != "average":
            asked = [metric for metric in objective.metrics if metric.ranks]
            objective = objective.model_copy(update={"metrics": asked})
        super().__init__(objective)

    def add_all(self, outputs: list[Outputs], target: Tensor) -> None:
        """One batch, and what each network gives for it."""
        mains = torch.stack([self.objective.main(one) for one in outputs])
        self.add(combined(self.objective, mains, self.how), target)

    def result(self) -> dict[str, float]:
        found = super().result()
        return found if self.how == "average" else {key: value for key, value in found.items() if key != "loss"}
