"""The base class of losses: requirements on targets and outputs, and a function of both that returns a scalar."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..lazy import F, torch
from ..registry import FAMILIES, Declared, Registry, family
from ..shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor

    Function = Callable[[Tensor, Tensor], Tensor]

LOSSES: Registry[Loss] = FAMILIES["loss"]


@family(LOSSES)
class Loss(Declared):
    """Base class of all losses.

    A subclass has a `kind`, pydantic fields with torch's names and defaults, class attributes that say what it
    applies to, and `function`. Defining the class registers it.
    """

    required = ("wants", "function")

    reduction: Literal["mean", "sum", "batchmean"] = Field(
        "mean", description="over all values of the batch; batchmean: their sum, divided by the number of examples"
    )

    wants: ClassVar[Literal["classes", "values", "boxes", "sequences"]]
    """Type of the targets: class numbers, values of the output's shape, boxes in a grid, or labels in order."""
    logits: ClassVar[bool] = False
    """Whether outputs are logits, of which the loss computes probabilities itself."""
    wants_distances: ClassVar[bool] = False
    """Whether outputs are distances, which are never below 0."""
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Smallest and largest value that a target may have."""
    on_maps: ClassVar[bool] = True
    """Whether the loss also takes maps, with a target at each position."""

    def function(self) -> Function:
        """Return the function from outputs and targets of a batch to a scalar tensor, reduced as `reduction` says."""
        raise TypeError(f"{type(self).__name__} has no function()")

    def outputs(self, target: Shape) -> Shape:
        """Return the shape that an output must have for targets of shape `target`, both without the batch axis."""
        return target

    def predict(self, output: Tensor) -> Tensor:
        """Return predictions (N, *target) from outputs: the mean where an output describes a distribution."""
        return output

    def probabilities(self, output: Tensor) -> Tensor | None:
        """Return the probability of each class, classes on axis 1; None where outputs are not probabilities."""
        return None

    @property
    def samples(self) -> bool:
        """Whether an output describes a distribution that `sample` draws from."""
        return type(self).sample is not Loss.sample

    def sample(self, output: Tensor, n: int, rng: torch.Generator) -> Tensor:
        """Draw n targets (N, n, *target) from the distribution that each output (N, ...) describes."""
        raise TypeError(f"{type(self).__name__} has no sample()")

    averageable: ClassVar[bool] = True
    """Whether the outputs of several networks have an average that is an output too."""

    def averaged(self, outputs: Tensor) -> Tensor:
        """Average the outputs (members, N, ...) of several networks to one output (N, ...), by what they stand
        for.
        """
        return outputs.mean(0)

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        """Return prediction minus target, of the shape of the target."""
        return self.predict(output) - target

    def check_shape(self, target: Shape) -> str:
        """Return a sentence on why targets of shape `target` do not fit the loss; empty where they do."""
        return ""

    def check(self, classes: int) -> str:
        """Return a sentence on why `classes` classes do not fit the loss; empty where they do."""
        return ""

    def check_values(self, targets: Any) -> str:
        """Return a sentence on values of the targets (N, *target) that the loss cannot take; empty where there
        are none.
        """
        low, high = float(targets.min()), float(targets.max())
        if not (low < self.target_range[0] or high > self.target_range[1]):  # NaN is found where it is met
            return ""
        wanted = (
            f"from {self.target_range[0]:g} to {self.target_range[1]:g}"
            if math.isfinite(self.target_range[1])
            else "of 0 and more"
        )
        return f"{self.kind} is for targets {wanted}, and these go from {low:.4g} to {high:.4g}"

    @property
    def balances(self) -> bool:
        """Whether weights follow from the number of examples of each class in the training part (`balanced`)."""
        return False

    def balanced(self, positives: Sequence[int], count: int) -> Loss:
        """Return the loss with the weights of `balanced` as numbers.

        Arguments:
            positives: targets of each class or label in the training part; of class 1 for one logit.
            count: all of its targets.

        Raises:
            ValueError: there are no targets of a class.
        """
        return self

    def ignores(self) -> int | None:
        """Return the class number of targets that do not count; None where all count."""
        return None

    def normalizer(self, target: Tensor) -> Tensor | int:
        """Return the divisor of a batch's mean, with which the means of several batches are averaged."""
        return len(target)

    def reduced(self, each: Tensor) -> Tensor:
        """Reduce losses of single values, batch first, to the scalar that `reduction` asks for."""
        if self.reduction == "mean":
            return each.mean()
        return each.sum() if self.reduction == "sum" else each.sum() / len(each)

    def from_torch(self, function: Callable[..., Tensor], **options: object) -> Function:
        """Wrap torch's `function` with `options` and the reduction of this loss."""
        if self.reduction == "batchmean":
            return lambda output, target: function(output, target, reduction="sum", **options) / len(target)
        if self.reduction == "mean" and not options:
            return function
        return lambda output, target: function(output, target, reduction=self.reduction, **options)


UNBALANCED = "`{}: balanced` follows from the training part of the data: give the weights as numbers"
"""Sentence on the use of balanced weights where no data is loaded."""


def pooled_softmax(outputs: Tensor) -> Tensor:
    """Return logits whose softmax is the mean of the members' softmax, from logits (members, N, classes, *size)."""
    return torch.logsumexp(outputs.log_softmax(2), 0) - math.log(len(outputs))


def pooled_sigmoid(outputs: Tensor) -> Tensor:
    """Return logits whose sigmoid is the mean of the members' sigmoid, from logits (members, N, ...)."""
    # log p - log(1 - p) of the mean p, each in log space, since p rounds to 0 or 1 for large logits
    return torch.logsumexp(F.logsigmoid(outputs), 0) - torch.logsumexp(F.logsigmoid(-outputs), 0)
