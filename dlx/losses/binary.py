"""Losses of binary targets, with one logit each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat

from ..lazy import F, torch
from ..shapes import Shape
from .base import UNBALANCED, pooled_sigmoid
from .values import OfValues

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


Several = Annotated[list[PositiveFloat], Field(min_length=1)]


class BinaryCrossEntropy(OfValues):
    """-t log sigmoid(output) - (1 - t) log(1 - sigmoid(output)), from logits, for targets t from 0 to 1.

    `pos_weight` is one factor, or one for each entry of axis 1, such as the labels of multilabel.
    Shapes: outputs and targets (N, *target). torch: binary_cross_entropy_with_logits.
    """

    kind: ClassVar[str] = "binary_cross_entropy"
    logits: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    pos_weight: PositiveFloat | Several | Literal["balanced"] | None = Field(
        None, description="factor on the first term, for rare ones; balanced: zeros to each one of the training part"
    )

    @property
    def balances(self) -> bool:
        return self.pos_weight == "balanced"

    def balanced(self, positives: Sequence[int], count: int) -> Self:
        if not self.balances:
            return self
        for i, one in enumerate(positives):
            if not 0 < one < count:
                where = f" of label {i}" if len(positives) > 1 else ""
                message = f"divides targets of 0 by targets of 1, and all {count:,}{where} are {int(one > 0)}"
                raise ValueError(f"`pos_weight: balanced` {message}")
        return self.model_copy(update={"pos_weight": [(count - one) / one for one in positives]})

    def check_shape(self, target: Shape) -> str:
        if not isinstance(self.pos_weight, list) or (target.rank and len(self.pos_weight) == target[0]):
            return ""
        return f"`pos_weight` has {len(self.pos_weight)} values, and a target is {target}"

    def check(self, classes: int) -> str:
        return self.check_shape(Shape((classes,)))

    def function(self) -> Function:
        if self.pos_weight is None:
            return self.from_torch(F.binary_cross_entropy_with_logits)
        if self.balances:
            raise ValueError(UNBALANCED.format("pos_weight"))
        weight = cache(lambda device, dtype: torch.tensor(self.pos_weight, device=device, dtype=dtype))

        def loss(output: Tensor, target: Tensor) -> Tensor:
            factor = weight(output.device, output.dtype)
            if factor.dim():  # torch counts axes from the last
                factor = factor.view(-1, *(1,) * (output.dim() - 2))
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
