"""Losses of binary targets, with one logit each."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from ..lazy import F, torch
from .base import pooled_sigmoid
from .values import OfValues

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


class BinaryCrossEntropy(OfValues):
    """-t log sigmoid(output) - (1 - t) log(1 - sigmoid(output)), from logits, for targets t from 0 to 1.

    Shapes: outputs and targets (N, *target). torch: binary_cross_entropy_with_logits.
    """

    kind: ClassVar[str] = "binary_cross_entropy"
    logits: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    pos_weight: PositiveFloat | None = Field(None, description="factor on the first term, for rare ones")

    def function(self) -> Function:
        if self.pos_weight is None:
            return self.from_torch(F.binary_cross_entropy_with_logits)
        weight = cache(lambda device, dtype: torch.tensor(self.pos_weight, device=device, dtype=dtype))

        def loss(output: Tensor, target: Tensor) -> Tensor:
            factor = weight(output.device, output.dtype)
            each = F.binary_cross_entropy_with_logits(output, target, pos_weight=factor, reduction="none")
            return self.reduced(each)

        return loss

    def predict(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    def probabilities(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    def averaged(self, outputs: Tensor) -> Tensor:
        return pooled_sigmoid(outputs)


class BinaryHinge(OfValues):
    """max(0, margin - s * output), where s is 1 for a target of 1 and -1 for one of 0: the SVM of one score.

    Shapes: outputs and targets (N, *target). With `squared` it is the square of that. It is no likelihood: what it
    predicts is the side of 0, and the sigmoid of the score stands for it.
    torch: none; hinge_embedding_loss is about distances. Source: Cortes & Vapnik 1995, Support-vector networks.
    """

    kind: ClassVar[str] = "binary_hinge"
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    margin: PositiveFloat = Field(1.0, description="how far on its side a score should be")
    squared: bool = Field(False, description="the square of it, which has a slope of 0 at the margin")

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            short = (self.margin - (2 * target - 1) * output).clamp_min(0)
            return self.reduced(short.square() if self.squared else short)

        return loss

    def predict(self, output: Tensor) -> Tensor:
        return output.sigmoid()
