"""Overlap of predicted and true regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from .base import pooled_sigmoid, pooled_softmax
from .values import OfValues

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


class Dice(OfValues):
    """1 - (2 sum p t + smooth) / (sum p + sum t + smooth) over the positions of each example and channel.

    p is the softmax over the channels, or the sigmoid of a single one; t is 0 or 1. The two sets overlap wholly at 0
    and not at all near 1, however small they are. A mean is over examples and channels.
    Shapes: outputs (N, channels, *size) of logits, targets the same.
    Source: Milletari et al. 2016, arXiv:1606.04797, section 3, whose denominator has squares.
    """

    kind: ClassVar[str] = "dice"
    logits: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    smooth: PositiveFloat = Field(1.0, description="added above and below, so that two empty sets agree")

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            p = self.predict(output).flatten(2) if output.dim() > 2 else self.predict(output).unsqueeze(-1)
            t = target.reshape(p.shape)
            both, either = (p * t).sum(-1), (p + t).sum(-1)
            return self.reduced(1 - (2 * both + self.smooth) / (either + self.smooth))

        return loss

    def predict(self, output: Tensor) -> Tensor:
        return output.softmax(1) if output.shape[1] > 1 else output.sigmoid()

    def probabilities(self, output: Tensor) -> Tensor:
        return self.predict(output)

    def averaged(self, outputs: Tensor) -> Tensor:
        return pooled_softmax(outputs) if outputs.shape[2] > 1 else pooled_sigmoid(outputs)
