"""Margin losses of class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from ..lazy import F
from .base import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function

Weights = Annotated[list[NonNegativeFloat], Field(min_length=1)]


class Hinge(Loss):
    """The multiclass SVM's sum over the other classes j of max(0, s_j - s_target + margin).

    Shapes: outputs (N, classes) of scores, targets (N,); a mean is over examples. torch: multi_margin_loss, which
    divides by the number of classes too; this one does not.
    Source: Weston & Watkins 1999; Deitke, CNNs for Visual Recognition, section 3.1.
    """

    kind: ClassVar[str] = "hinge"
    wants: ClassVar[Literal["classes", "values"]] = "classes"
    on_maps: ClassVar[bool] = False
    margin: PositiveFloat = Field(1.0, description="by which the score of the target should lead")

    power: ClassVar[int] = 1

    def function(self) -> Function:
        reduction = "sum" if self.reduction == "sum" else "mean"

        def loss(output: Tensor, target: Tensor) -> Tensor:
            found = F.multi_margin_loss(output, target, self.power, self.margin, reduction=reduction)
            return found * output.shape[1]

        return loss


class SquaredHinge(Hinge):
    """The sum over the other classes j of max(0, s_j - s_target + margin)^2: large violations cost more.

    Shapes: outputs (N, classes) of scores, targets (N,); a mean is over examples. torch: multi_margin_loss with
    p = 2, times the number of classes. Source: Deitke, CNNs for Visual Recognition, section 3.1.
    """

    kind: ClassVar[str] = "squared_hinge"
    power: ClassVar[int] = 2
