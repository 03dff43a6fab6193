"""Object detection in a grid of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..losses import LOSSES, Loss
from ..metrics import METRICS, Metric
from ..metrics.boxes import AveragePrecision
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor


class Detection(Supervised):
    """Predict for each cell of a grid whether the centre of an object is in it, its box and its class.

    Shapes: outputs (N, 5 boxes + classes, S, S), targets (N, 5 + classes, S, S), as the loss has them. Metrics, over
    the cells with an object: box_iou, the overlap of the surest box with it, and class_accuracy; and
    average_precision, the mean over classes of that of each.
    """

    kind: ClassVar[str] = "detection"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("yolo"), description="what training makes small"
    )
    metrics: Annotated[list[Metric], Choice(METRICS)] = Field(
        [AveragePrecision()], description="more to measure at each evaluation"
    )
    default_metrics: ClassVar[tuple[str, ...]] = ("box_iou", "class_accuracy")
    higher_is_better: ClassVar[tuple[str, ...]] = default_metrics
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads"]] = "boxes"

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.target is None or facts.classes is not None:
            return Problem(
                f"detection wants boxes in a grid, and the data has {facts.classes} classes",
                f"Use `objective: {'classification' if facts.target is None else 'segmentation'}`.",
            )
        if facts.target.rank != 3 or facts.target[0] < 6:
            return Problem(
                f"detection wants targets (5 + classes, rows, columns), and each one of the data is {facts.target}",
                "Use `objective: regression`.",
            )
        if self.loss.wants != "boxes":
            return Problem(f"the loss {self.loss.kind} is not for boxes, which detection has", "Use `loss: yolo`.")
        wanted = self.loss.outputs(facts.target)
        if tuple(output) == tuple(wanted):
            return None
        boxes = (wanted[0] - facts.target[0]) // 5 + 1
        return Problem(
            f"the network ends in {output}, and {boxes} boxes and {facts.target[0] - 5} classes on "
            f"{wanted[1]}x{wanted[2]} cells want {wanted}",
            f"Let the last layer be `conv: {{out_channels: {wanted[0]}, kernel_size: 1}}` on that grid, or "
            f"`reshape: [{wanted[0]}, {wanted[1]}, {wanted[2]}]` of a vector.",
        )

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        from ..modules import boxes

        answer, truth = (
            boxes.decode_outputs(output, (output.shape[1] - target.shape[1]) // 5 + 1),
            boxes.decode_targets(target),
        )
        there, count = truth.confidence[:, 0], self.count(target).clamp_min(1)
        overlap = boxes.overlap(answer.corners, truth.corners)
        surest = overlap.gather(1, answer.confidence.argmax(1, keepdim=True))[:, 0]
        right = answer.classes.argmax(1) == truth.classes.argmax(1)
        return {"box_iou": (surest * there).sum() / count, "class_accuracy": (right * there).sum() / count}

    def count(self, target: Tensor) -> Tensor:
        return target[:, 0].sum()
