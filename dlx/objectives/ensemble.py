"""Predictions of several networks combined, and their metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem
from ..lazy import F, torch
from .supervised import EvaluationMeters, Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Outputs


SURE = 20
"""Logit that stands for a decision: its sigmoid differs from 1 by 2e-9."""


def check_combine(objective: Supervised, how: str) -> Problem | None:
    """Return the problem of combining predictions by `how`; None where it is possible."""
    if not objective.loss.averageable:
        return Problem(
            f"the outputs of {objective.loss.kind} have no mean that is an output too, so its networks cannot answer "
            "together",
            "Compare them one by one: `seeds: 5`.",
        )
    if how != "average" and objective.measures != "classes":
        word = "networks vote for classes" if how == "vote" else "networks are unanimous about classes"
        return Problem(f"{word}, and {objective.kind} has {objective.measures}", "Write `combine: average`.")
    return None


def combined(objective: Supervised, outputs: Tensor, how: str) -> Tensor:
    """Combine outputs of several networks (members, N, ...) to one output (N, ...).

    With `average` it stands for the mean probability or the mean. With `vote` and `unanimous` only the order of the
    classes is meaningful.
    """
    if how == "average":
        return objective.loss.averaged(outputs)
    return (_decided if objective.one_logit else _ranked)(objective, outputs, how)


def _ranked(objective: Supervised, outputs: Tensor, how: str) -> Tensor:
    """Rank classes by votes; ties go to the larger mean probability, then to the first class."""
    averaged = objective.loss.averaged(outputs)
    classes = averaged.shape[1]
    votes = outputs.argmax(2)
    if how == "unanimous":
        votes = votes[0].where((votes == votes[0]).all(0), 0)[None]
    counts = F.one_hot(votes, classes).sum(0).movedim(-1, 1)
    place = averaged.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    # A place is below `classes`, so that it only orders classes with equally many votes
    return (counts * classes - place).to(averaged.dtype)


def _decided(objective: Supervised, outputs: Tensor, how: str) -> Tensor:
    """Return a score beyond any threshold for class 1 and its negative for class 0, by vote or unanimity."""
    said, threshold = objective.loss.predict(outputs), getattr(objective, "threshold", 0.5)
    yes, members = (said > threshold).sum(0), len(outputs)
    tie = (2 * yes == members) & (said.mean(0) > threshold)
    most = (2 * yes > members) | tie if how == "vote" else yes == members
    return SURE * (2 * most.to(outputs.dtype) - 1)


class EnsembleEvaluation(EvaluationMeters):
    """Accumulates the metrics of several networks combined. Votes have no loss, and no metric of probabilities."""

    def __init__(self, objective: Supervised, how: str) -> None:
        self.how = how
        if how != "average":
            asked = [metric for metric in objective.metrics if metric.ranks]
            objective = objective.model_copy(update={"metrics": asked})
        super().__init__(objective)

    def add_all(self, outputs: list[Outputs], target: Tensor) -> None:
        """Add the outputs of each network for a batch, and its targets."""
        mains = torch.stack([self.objective.main(one) for one in outputs])
        self.add(combined(self.objective, mains, self.how), target)

    def result(self) -> dict[str, float]:
        found = super().result()
        return found if self.how == "average" else {key: value for key, value in found.items() if key != "loss"}
