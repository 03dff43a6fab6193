"""Losses of class numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat

from ..lazy import F, torch
from .base import UNBALANCED, Loss, pooled_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function

Weights = Annotated[list[NonNegativeFloat], Field(min_length=1)]


class _OfClasses(Loss):
    """Base class of losses with class weights."""

    logits: ClassVar[bool] = True
    wants: ClassVar[Literal["classes", "values"]] = "classes"
    weight: Weights | Literal["balanced"] | None = Field(
        None,
        description="of each class; a mean is divided by the weights it counted; balanced: n / (classes * count) of "
        "the training part",
    )

    @property
    def balances(self) -> bool:
        return self.weight == "balanced"

    def balanced(self, positives: Sequence[int], count: int) -> Self:
        if not self.balances:
            return self
        counted = [i for i in range(len(positives)) if i != self.ignores()]
        empty = [i for i in counted if not positives[i]]
        if empty:
            message = f"divides by the targets of each class, and the training part has none of {empty[0]}"
            raise ValueError(f"`weight: balanced` {message}")
        weights = [count / (len(counted) * positives[i]) if i in counted else 0.0 for i in range(len(positives))]
        return self.model_copy(update={"weight": weights})

    def check(self, classes: int) -> str:
        if self.balances:
            return ""
        if self.weight is not None and not any(self.weight):
            return f"`weight` of {self.kind} is 0 for every class, so nothing is learned"
        if self.weight is None or len(self.weight) == classes:
            return ""
        return f"`weight` of {self.kind} has {len(self.weight)} values, and the data has {classes} classes"

    def probabilities(self, output: Tensor) -> Tensor:
        return output.softmax(1)

    def averaged(self, outputs: Tensor) -> Tensor:
        return pooled_softmax(outputs)

    def on(self) -> Callable[[torch.device, torch.dtype], Tensor | None]:
        """Return the function from device and dtype to the class weights, cached; None for no weights."""
        if self.weight is None:
            return lambda *_: None
        if self.balances:
            raise ValueError(UNBALANCED.format("weight"))
        return cache(lambda device, dtype: torch.tensor(self.weight, device=device, dtype=dtype))


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """torch's cross-entropy; channels-last maps are flattened to rows, for which it is faster."""
    if output.dim() > 2 and (moved := output.movedim(1, -1)).is_contiguous():
        return F.cross_entropy(moved.flatten(0, -2), target.flatten())
    return F.cross_entropy(output, target)


class CrossEntropy(_OfClasses):
    """-log softmax(output)[target], from logits: no softmax layer before it.

    With label smoothing e over `all` K classes the target is 1 - e + e/K at its class and e/K elsewhere, as torch has
    it; over the `others` it is 1 - e at its class and e/(K - 1) elsewhere, which is torch's e K/(K - 1).
    Shapes: outputs (N, classes, *size), targets (N, *size) of class numbers. A mean is over all positions that are
    not ignored; where none is left it is 0, and torch's nan. torch: cross_entropy.
    Errors: smoothing of the others beyond (K - 1)/K; a number of weights that is not the number of classes.
    Source: for smoothing Szegedy et al. 2016, arXiv:1512.00567, section 7; for that of the others Prince 2023,
    Understanding Deep Learning, problem 9.4.
    """

    kind: ClassVar[str] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the target that is spread"
    )
    smooth: Literal["all", "others"] = Field("all", description="classes that it is spread over")
    ignore_index: int = Field(-100, description="class number of targets that do not count")

    def check(self, classes: int) -> str:
        most = (classes - 1) / classes
        if self.smooth == "others" and self.label_smoothing > most:
            return f"label_smoothing {self.label_smoothing:g} over the others of {classes} classes is above {most:g}"
        return super().check(classes)

    def ignores(self) -> int | None:
        return self.ignore_index

    def function(self) -> Function:
        own = type(self).model_fields
        if all(getattr(self, name) == own[name].default for name in own):
            return _cross_entropy
        weight = self.on()

        def loss(output: Tensor, target: Tensor) -> Tensor:
            k = output.shape[1]
            spread = self.label_smoothing * (k / (k - 1) if self.smooth == "others" and k > 1 else 1)
            found = F.cross_entropy(
                output,
                target,
                weight(output.device, output.dtype),
                ignore_index=self.ignore_index,
                reduction="sum",
                label_smoothing=spread,
            )
            if self.reduction == "mean":
                return found / torch.as_tensor(self.normalizer(target)).clamp_min(1e-12)
            return found / len(target) if self.reduction == "batchmean" else found

        return loss

    def normalizer(self, target: Tensor) -> Tensor | int:
        if self.reduction == "batchmean":
            return len(target)
        counts = target != self.ignore_index
        weight = self.on()(target.device, torch.float32)
        return counts.sum() if weight is None else weight[target.clamp(0, len(weight) - 1)].mul(counts).sum()


class Focal(_OfClasses):
    """Cross-entropy with less weight on well-classified examples: -(1 - p)^gamma log p, p that of the target.

    Two classes give the binary form; `weight` is alpha. With gamma = 0 it is cross_entropy.
    Shapes: outputs (N, classes, *size) of logits, targets (N, *size). A mean is over all positions, whatever their
    weights, as the paper has it. Source: Lin et al. 2017, arXiv:1708.02002, equation 5.
    """

    kind: ClassVar[str] = "focal"
    gamma: NonNegativeFloat = Field(2.0, description="how fast the likely ones lose weight")

    def function(self) -> Function:
        weight = self.on()

        def loss(output: Tensor, target: Tensor) -> Tensor:
            surprise = F.cross_entropy(output, target, reduction="none")
            doubt = (-torch.expm1(-surprise)).clamp_min(1e-12)  # its root has no slope at zero
            each = doubt**self.gamma * surprise
            alpha = weight(output.device, output.dtype)
            return self.reduced(each if alpha is None else alpha[target] * each)

        return loss
