"""What training makes small. Numerically safe forms only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from .lazy import F
from .registry import Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

LOSSES: Registry[Loss] = Registry("loss", "dlx.losses", "dlx.losses")


@family(LOSSES)
class Loss(Declared):
    """The root of all losses."""

    reduction: Literal["mean", "sum"] = Field("mean", description="over all values of the batch")

    wants: ClassVar[Literal["classes", "values"]]
    """Targets are class numbers, or values of the output's own shape."""

    def function(self) -> Callable[[Tensor, Tensor], Tensor]:
        """From outputs and targets of a batch to a scalar."""
        raise TypeError(f"{type(self).__name__} has no function()")


class CrossEntropy(Loss):
    """-log softmax(output)[target], from logits: no softmax layer before it.

    Shapes: outputs (N, classes, *size), targets (N, *size) of class numbers. torch: cross_entropy.
    """

    kind: ClassVar[str] = "cross_entropy"
    wants: ClassVar[Literal["classes", "values"]] = "classes"

    def function(self) -> Callable[[Tensor, Tensor], Tensor]:
        if self.reduction == "mean":
            return F.cross_entropy
        return lambda output, target: F.cross_entropy(output, target, reduction="sum")


class SquaredError(Loss):
    """(output - target)^2. torch: mse_loss, which for "mean" divides by every value, not by every example.

    Shapes: outputs and targets (N, *target).
    """

    kind: ClassVar[str] = "squared_error"
    wants: ClassVar[Literal["classes", "values"]] = "values"

    def function(self) -> Callable[[Tensor, Tensor], Tensor]:
        if self.reduction == "mean":
            return F.mse_loss
        return lambda output, target: F.mse_loss(output, target, reduction="sum")
