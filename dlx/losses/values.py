"""Losses of values: how far the output is from a target of its own shape."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from ..lazy import F, torch
from .base import Loss, pooled_sigmoid, pooled_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


SLACK = 1e-3
"""How far from 1 the sum of probabilities may be that were rounded."""


class _OfValues(Loss):
    wants: ClassVar[Literal["classes", "values"]] = "values"


class SquaredError(_OfValues):
    """(output - target)^2. torch: mse_loss, which for "mean" divides by every value, not by every example.

    Textbooks often have the sum: `reduction: sum`. Shapes: outputs and targets (N, *target).
    """

    kind: ClassVar[str] = "squared_error"

    def function(self) -> Function:
        return self.torchs(F.mse_loss)


class AbsoluteError(_OfValues):
    """|output - target|: the best single answer is the median. torch: l1_loss.

    Shapes: outputs and targets (N, *target).
    """

    kind: ClassVar[str] = "absolute_error"

    def function(self) -> Function:
        return self.torchs(F.l1_loss)


class Huber(_OfValues):
    """Half the square of the gap up to `delta`, and delta * (|gap| - delta/2) beyond. torch: huber_loss.

    Shapes: outputs and targets (N, *target). Source: Huber 1964, Robust estimation of a location parameter.
    """

    kind: ClassVar[str] = "huber"
    delta: PositiveFloat = Field(1.0, description="gap from which it grows as a line")

    def function(self) -> Function:
        return self.torchs(F.huber_loss, delta=self.delta)


class SmoothL1(_OfValues):
    """gap^2 / (2 beta) up to `beta`, and |gap| - beta/2 beyond: `huber` with delta = beta, divided by beta.

    Shapes: outputs and targets (N, *target). torch: smooth_l1_loss. Source: Girshick 2015, arXiv:1504.08083,
    equation 3.
    """

    kind: ClassVar[str] = "smooth_l1"
    beta: PositiveFloat = Field(1.0, description="gap from which it grows as a line of slope 1")

    def function(self) -> Function:
        return self.torchs(F.smooth_l1_loss, beta=self.beta)


class BinaryCrossEntropy(_OfValues):
    """-t log sigmoid(output) - (1 - t) log(1 - sigmoid(output)), from logits, for targets t from 0 to 1.

    Shapes: outputs and targets (N, *target). torch: binary_cross_entropy_with_logits.
    """

    kind: ClassVar[str] = "binary_cross_entropy"
    logits: ClassVar[bool] = True
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)
    pos_weight: PositiveFloat | None = Field(None, description="factor on the first term, for rare ones")

    def function(self) -> Function:
        if self.pos_weight is None:
            return self.torchs(F.binary_cross_entropy_with_logits)
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

    def pooled(self, outputs: Tensor) -> Tensor:
        return pooled_sigmoid(outputs)


class BinaryHinge(_OfValues):
    """max(0, margin - s * output), where s is 1 for a target of 1 and -1 for one of 0: the SVM of one score.

    Shapes: outputs and targets (N, *target). With `squared` it is the square of that. It is no likelihood: what it
    predicts is the side of 0, and the sigmoid of the score stands for it.
    torch: none; hinge_embedding_loss is about distances. Source: Cortes & Vapnik 1995, Support-vector networks.
    """

    kind: ClassVar[str] = "binary_hinge"
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)
    margin: PositiveFloat = Field(1.0, description="how far on its side a score should be")
    squared: bool = Field(False, description="the square of it, which has a slope of 0 at the margin")

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            short = (self.margin - (2 * target - 1) * output).clamp_min(0)
            return self.reduced(short.square() if self.squared else short)

        return loss

    def predict(self, output: Tensor) -> Tensor:
        return output.sigmoid()


class KLDivergence(_OfValues):
    """sum_k t_k log(t_k / softmax(output)_k), from logits, for targets t that are probabilities.

    A mean is over examples and positions, so that it is a divergence. torch's divides by the classes too, against
    which its documentation warns; without positions this one is torch's batchmean.
    Shapes: outputs and targets (N, classes, *size). torch: kl_div of log_softmax.
    Source: Kullback & Leibler 1951.
    """

    kind: ClassVar[str] = "kl_div"
    logits: ClassVar[bool] = True
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def misfit(self, targets: Any) -> str:
        sums = targets.sum(1)
        least, most = float(sums.min()), float(sums.max())
        if (told := super().misfit(targets)) or abs(least - 1) < SLACK > abs(most - 1):
            return told
        return f"{self.kind} is for probabilities that add up to 1, and these add up to {least:.4g} to {most:.4g}"

    def function(self) -> Function:
        return lambda output, target: self.reduced(F.kl_div(output.log_softmax(1), target, reduction="none").sum(1))

    def predict(self, output: Tensor) -> Tensor:
        return output.softmax(1)

    def probabilities(self, output: Tensor) -> Tensor:
        return output.softmax(1)

    def pooled(self, outputs: Tensor) -> Tensor:
        return pooled_softmax(outputs)


class Dice(_OfValues):
    """1 - (2 sum p t + smooth) / (sum p + sum t + smooth) over the positions of each example and channel.

    p is the softmax over the channels, or the sigmoid of a single one; t is 0 or 1. The two sets overlap wholly at 0
    and not at all near 1, however small they are. A mean is over examples and channels.
    Shapes: outputs (N, channels, *size) of logits, targets the same.
    Source: Milletari et al. 2016, arXiv:1606.04797, section 3, whose denominator has squares.
    """

    kind: ClassVar[str] = "dice"
    logits: ClassVar[bool] = True
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)
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

    def pooled(self, outputs: Tensor) -> Tensor:
        return pooled_softmax(outputs) if outputs.shape[2] > 1 else pooled_sigmoid(outputs)
