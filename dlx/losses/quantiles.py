"""The loss of quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from ..lazy import torch
from ..shapes import Shape
from .values import OfValues

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function

MEDIAN = 0.5
Quantiles = list[Annotated[float, Field(gt=0, lt=1)]]


def checked_quantiles(quantiles: list[float]) -> list[float]:
    """Return quantiles that ascend, with a median where they are several. ValueError else."""
    if quantiles != sorted(set(quantiles)):
        raise ValueError(f"quantiles ascend, and these are {quantiles}: sort them, each once")
    if len(quantiles) > 1 and MEDIAN not in quantiles:
        raise ValueError("of several quantiles the median is predicted: add 0.5")
    return quantiles


class Pinball(OfValues):
    """max(q e, (q - 1) e) for e = target - output: the best single answer is the quantile q of the targets.

    With several quantiles an output has the values of the first one, then those of the second, and so on; the mean is
    over all of them, and the prediction is the median. Half the absolute error for q = 1/2.
    Shapes: outputs (Q C, *size), targets (C, *size), N of each. Source: Koenker & Bassett 1978, Regression quantiles.
    scikit-learn: mean_pinball_loss.
    """

    kind: ClassVar[str] = "pinball"
    quantiles: Quantiles = Field(
        [MEDIAN], min_length=1, description="probabilities that a target is below, ascending"
    )

    _checked = field_validator("quantiles")(checked_quantiles)

    def outputs(self, target: Shape) -> Shape:
        return Shape((len(self.quantiles) * target[0], *target[1:]))

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            each = []
            for q, one in zip(self.quantiles, output.chunk(len(self.quantiles), 1), strict=True):
                error = target - one
                each.append(torch.maximum(q * error, (q - 1) * error))
            return self.reduced(torch.cat(each, 1))

        return loss

    def predict(self, output: Tensor) -> Tensor:
        place = self.quantiles.index(MEDIAN) if MEDIAN in self.quantiles else 0
        return output.chunk(len(self.quantiles), 1)[place]
