"""Segmentation: a class at each position."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..shapes import Shape, by_x
from .classification import Classification

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Function


class Segmentation(Classification):
    """Classify each position, such as a pixel, a voxel or a time step; the network gives one logit a class there.

    A loss that wants values (dice, binary_cross_entropy) gets the targets as channels of ones and zeros. Positions
    that do not count have the class number `ignore_index` of cross_entropy.
    Shapes: outputs (N, classes, *size), targets (N, *size). With `crop: center` outputs may be smaller, as those of a
    network without padding: of the middle of the targets, from (target - output) // 2 on along each axis. Metrics:
    accuracy (share of positions whose largest logit is the target) and error = 1 - accuracy. Others that can be asked
    for: iou, precision, recall, f1, top_k_error, perplexity, calibration_error, auroc, exact_match, confusion_matrix.
    """

    kind: ClassVar[str] = "segmentation"
    crop: Literal["center"] | None = Field(
        None, description="center: compare smaller outputs with the middle of the targets"
    )

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None or facts.target is None:
            has = f"{facts.classes} classes, one an example" if facts.classes else f"targets of shape {facts.target}"
            kind = "classification" if facts.classes else "regression"
            return Problem(
                f"segmentation wants a class at each position, and the data has {has}", f"Use `objective: {kind}`."
            )
        if not self.loss.on_maps:
            return Problem(
                f"the loss {self.loss.kind} wants one target an example, and segmentation has one a position",
                "Use `loss: cross_entropy`.",
            )
        if tuple(output) == (facts.classes, *facts.target):
            return self.check_loss(facts.classes)
        size = by_x(facts.target)
        smaller = len(output) == 1 + len(facts.target) and all(
            a <= b for a, b in zip(output[1:], facts.target, strict=True)
        )
        if smaller and output[0] == facts.classes:
            if self.crop:
                return self.check_loss(facts.classes)
            return Problem(
                f"the network ends in {output}, and the data has {facts.classes} classes on {size}",
                "For want of padding? `objective: {segmentation: {crop: center}}` takes the middle of targets.",
            )
        hint = f"Let the last layer be `conv: {{out_channels: {facts.classes}, kernel_size: 1}}`, at the size {size}."
        return Problem(f"the network ends in {output}, and the data has {facts.classes} classes on {size}", hint)

    def compared_target(self, output: Tensor, target: Tensor) -> Tensor:
        return _middle(target, output) if self.crop else target

    def loss_function(self) -> Function:
        loss = super().loss_function()
        return (lambda output, target: loss(output, _middle(target, output))) if self.crop else loss


def _middle(target: Tensor, output: Tensor) -> Tensor:
    """Cut targets (N, *size) to the size of the outputs (N, classes, *smaller), the same at both ends."""
    for axis in range(1, target.dim()):
        size = output.shape[axis + 1]
        target = target.narrow(axis, (target.shape[axis] - size) // 2, size)
    return target
