"""What every loss is: what it wants of targets and outputs, and one function from both to a scalar."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """The root of all losses."""

    reduction: Literal["mean", "sum", "batchmean"] = Field(
        "mean", description="over all values of the batch; batchmean: their sum, divided by the number of examples"
    )

    wants: ClassVar[Literal["classes", "values", "boxes"]]
    """Targets are class numbers, values of the output's own shape, or boxes in a grid."""
    logits: ClassVar[bool] = False
    """Whether it takes logits, of which it makes probabilities itself."""
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Least and largest value that a target may have."""
    on_maps: ClassVar[bool] = True
    """Whether it takes a target at each position of a map."""

    def function(self) -> Function:
        """From outputs and targets of a batch to a scalar."""
        raise TypeError(f"{type(self).__name__} has no function()")

    def outputs(self, target: Shape) -> Shape:
        """The shape of one output for targets of shape `target`."""
        return target

    def predict(self, output: Tensor) -> Tensor:
        """The value that outputs stand for, of the target's shape: a mean where they are a distribution."""
        return output

    def probabilities(self, output: Tensor) -> Tensor | None:
        """The probability of each class, classes on axis 1; None where outputs are no probabilities."""
        return None

    averageable: ClassVar[bool] = True
    """Whether several networks can answer together."""

    def averaged(self, outputs: Tensor) -> Tensor:
        """Outputs of several networks, (members, N, ...), as one: their mean, or that of what they stand for."""
        return outputs.mean(0)

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        """How far the prediction is from the target."""
        return self.predict(output) - target

    def check_shape(self, target: Shape) -> str:
        """What does not fit within the loss for targets of shape `target`, as a sentence; empty where all does."""
        return ""

    def check(self, classes: int) -> str:
        """What does not fit between the loss and the number of classes, as a sentence; empty where all does."""
        return ""

    def check_values(self, targets: Any) -> str:
        """A sentence on values of an array (N, *target) that this loss cannot take; empty where it takes all."""
        low, high = float(targets.min()), float(targets.max())
        if not (low < self.target_range[0] or high > self.target_range[1]):  # NaN is found where it is met
            return ""
        wanted = (
            f"from {self.target_range[0]:g} to {self.target_range[1]:g}"
            if math.isfinite(self.target_range[1])
            else "of 0 and more"
        )
        return f"{self.kind} is for targets {wanted}, and these go from {low:.4g} to {high:.4g}"

    def ignores(self) -> int | None:
        """The class number of targets that do not count."""
        return None

    def normalizer(self, target: Tensor) -> Tensor | int:
        """What the mean of a batch was divided by, so that means of several batches can be joined to one."""
        return len(target)

    def reduced(self, each: Tensor) -> Tensor:
        """A loss for each value, the batch first, to the scalar that `reduction` asks for."""
        if self.reduction == "mean":
            return each.mean()
        return each.sum() if self.reduction == "sum" else each.sum() / len(each)

    def from_torch(self, function: Callable[..., Tensor], **options: object) -> Function:
        """torch's `function` with `options` and this reduction."""
        if self.reduction == "batchmean":
            return lambda output, target: function(output, target, reduction="sum", **options) / len(target)
        if self.reduction == "mean" and not options:
            return function
        return lambda output, target: function(output, target, reduction=self.reduction, **options)


def pooled_softmax(outputs: Tensor) -> Tensor:
    """Logits whose softmax is the mean of the members' own, from theirs (members, N, classes, *size)."""
    return torch.logsumexp(outputs.log_softmax(2), 0) - math.log(len(outputs))


def pooled_sigmoid(outputs: Tensor) -> Tensor:
    """Logits whose sigmoid is the mean of the members' own, from theirs (members, N, ...)."""
    return torch.logsumexp(F.logsigmoid(outputs), 0) - torch.logsumexp(F.logsigmoid(-outputs), 0)
