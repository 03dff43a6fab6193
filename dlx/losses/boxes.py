"""Losses of boxes in a grid of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ..lazy import torch
from ..shapes import Shape
from .base import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


class Yolo(Loss):
    """Squared errors of the position, confidence and class of boxes in a grid, summed over a picture.

    In a cell with an object the predicted box that overlaps it most is responsible for it: lambda_coord times the
    squared errors of its centre and of the square roots of its width and height, and the squared error of its
    confidence with respect to that overlap (or to 1). All other boxes have the target confidence 0, times
    lambda_noobj. Classes count where there is an object. Shapes: outputs (N, 5 boxes + classes, S, S), of each box
    its confidence, the column and row of its centre within the cell, and the square roots of width and height as
    parts of the picture's; then the classes. Targets (N, 5 + classes, S, S) have one box, and its width and height. A
    mean is over pictures. Source: Redmon et al. 2016, arXiv:1506.02640, equation 3 and section 2.2.
    """

    kind: ClassVar[str] = "yolo"
    boxes: PositiveInt = Field(2, description="boxes that the network gives for each cell")
    lambda_coord: NonNegativeFloat = Field(5.0, description="factor on the gaps of middles and sizes")
    lambda_noobj: NonNegativeFloat = Field(0.5, description="factor on the confidence of boxes without an object")
    rescore: bool = Field(True, description="let confidence be the overlap that the box has; else 1")

    wants: ClassVar[Literal["classes", "values", "boxes"]] = "boxes"
    on_maps: ClassVar[bool] = False
    averageable: ClassVar[bool] = False

    def outputs(self, target: Shape) -> Shape:
        return Shape((target[0] + 5 * (self.boxes - 1), *target[1:]))

    def check(self, classes: int) -> str:
        return f"the loss {self.kind} wants boxes in a grid, which `objective: detection` has"

    def function(self) -> Function:
        from ..modules import boxes

        def loss(output: Tensor, target: Tensor) -> Tensor:
            answer, truth = boxes.decode_outputs(output, self.boxes), boxes.decode_targets(target)
            with torch.no_grad():
                overlap = boxes.overlap(answer.corners, truth.corners)
                best = overlap.argmax(1, keepdim=True)
                responsible = torch.zeros_like(overlap).scatter_(1, best, 1.0) * truth.confidence
                wanted = overlap if self.rescore else torch.ones_like(overlap)
            place_error = (answer.place - truth.place).square().sum(2)
            sure = (answer.confidence - wanted).square()
            each = responsible * (self.lambda_coord * place_error + sure)
            each = each + self.lambda_noobj * (1 - responsible) * answer.confidence.square()
            classes = truth.confidence * (answer.classes - truth.classes).square()
            return self.reduced(each.flatten(1).sum(1) + classes.flatten(1).sum(1))

        return loss
