"""Divergence of two distributions over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..lazy import F
from .base import pooled_softmax
from .values import OfValues

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


SLACK = 1e-3
"""Tolerance of the sum of target probabilities, which may be rounded."""


class KLDivergence(OfValues):
    """sum_k t_k log(t_k / softmax(output)_k), from logits, for targets t that are probabilities.

    A mean is over examples and positions, so that it is a divergence. torch's divides by the classes too, against
    which its documentation warns; without positions this one is torch's batchmean.
    Shapes: outputs and targets (N, classes, *size). torch: kl_div of log_softmax.
    Source: Kullback & Leibler 1951.
    """

    kind: ClassVar[str] = "kl_div"
    logits: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def check_values(self, targets: Any) -> str:
        sums = targets.sum(1)
        least, most = float(sums.min()), float(sums.max())
        if (message := super().check_values(targets)) or abs(least - 1) < SLACK > abs(most - 1):
            return message
        return f"{self.kind} is for probabilities that add up to 1, and these add up to {least:.4g} to {most:.4g}"

    def function(self) -> Function:
        return lambda output, target: self.reduced(F.kl_div(output.log_softmax(1), target, reduction="none").sum(1))

    def predict(self, output: Tensor) -> Tensor:
        return output.softmax(1)

    def probabilities(self, output: Tensor) -> Tensor:
        return output.softmax(1)

    def averaged(self, outputs: Tensor) -> Tensor:
        return pooled_softmax(outputs)
