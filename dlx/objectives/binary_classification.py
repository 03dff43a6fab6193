"""Binary classification."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..losses import LOSSES, Loss
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from ..metrics import Metric
    from .supervised import Function

Probability = Annotated[float, Field(gt=0, lt=1)]
POS_WEIGHT = (
    "Weights are those of the loss: `loss: {binary_cross_entropy: {pos_weight: balanced}}`, or a number in place of "
    "`balanced`."
)


class BinaryClassification(Supervised):
    """Separate class 1 from class 0 with one logit, positive for class 1.

    Shapes: outputs (N, 1), targets (N,) of 0 and 1. Metrics: accuracy (share of examples on the right side of the
    threshold) and error = 1 - accuracy. Others that can be asked for: precision, recall, f1, auroc, auprc,
    calibration_error, iou, of class 1, and confusion_matrix.
    """

    kind: ClassVar[str] = "binary_classification"
    field_hints: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("class_weights", "class_weight", "pos_weight"), POS_WEIGHT
    )
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("binary_cross_entropy"), description="what training makes small"
    )
    threshold: Probability = Field(0.5, description="probability of class 1 above which it is predicted")
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "error")
    one_logit: ClassVar[bool] = True

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes != 2 or facts.target is not None:
            has = f"{facts.classes} classes" if facts.classes is not None else "targets that are numbers"
            where = f" at each position of {facts.target}" if facts.classes is not None and facts.target else ""
            hint = f"`objective: {'classification' if facts.classes is not None else 'regression'}` learns such."
            return Problem(f"binary_classification wants two classes, and the data has {has}{where}", hint)
        if self.loss.wants == "classes":
            return Problem(
                f"the loss {self.loss.kind} wants an output a class, and binary_classification has one logit",
                f"Use `loss: {'binary_hinge' if 'hinge' in self.loss.kind else 'binary_cross_entropy'}`, or "
                "`objective: classification` with two outputs.",
            )
        if check_shape := self.loss.check_shape(Shape((1,))):
            return Problem(check_shape, "Sum up losses of the same output.")
        if tuple(output) == (1,) == tuple(self.loss.outputs(Shape((1,)))):
            return None
        return Problem(
            f"the network ends in {output}, and binary_classification has one logit",
            "Let the last layer be `linear: 1`, or use `objective: classification`.",
        )

    def positives(self, targets: Any, classes: int | None) -> tuple[list[int], int]:
        return [int((targets == 1).sum())], len(targets)

    def loss_function(self) -> Function:
        loss = self.loss.function()
        return lambda output, target: loss(output, target.unsqueeze(1).to(output.dtype))

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        accuracy = ((self.loss.predict(output).squeeze(1) > self.threshold) == target).float().mean()
        return {"accuracy": accuracy, "error": 1 - accuracy}

    def scores(self, output: Tensor) -> Tensor:
        return logits_of(self.loss, output).squeeze(1)

    def scores_of(self, metric: Metric, scores: Tensor) -> Tensor:
        decides = metric.ranks and self.threshold != 0.5
        return scores - log(self.threshold / (1 - self.threshold)) if decides else scores


def logits_of(loss: Loss, output: Tensor) -> Tensor:
    """Return logits of the probabilities of 1 that outputs of a loss stand for."""
    from ..losses.binary import BinaryCrossEntropy

    return output if isinstance(loss, BinaryCrossEntropy) else loss.predict(output).clamp(0, 1).logit()
