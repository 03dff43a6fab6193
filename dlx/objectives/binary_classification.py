"""Binary classification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..losses import LOSSES, Loss
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Function


class BinaryClassification(Supervised):
    """Separate class 1 from class 0 with one logit, positive for class 1.

    Shapes: outputs (N, 1), targets (N,) of 0 and 1. Metrics: accuracy (share of examples on the right side of 1/2)
    and error = 1 - accuracy. Others that can be asked for: precision, recall, f1, auroc, calibration_error, iou, of
    class 1, and confusion_matrix.
    """

    kind: ClassVar[str] = "binary_classification"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("binary_cross_entropy"), description="what training makes small"
    )
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "error")
    one_logit: ClassVar[bool] = True

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes != 2 or facts.target is not None:
            has = f"{facts.classes} classes" if facts.classes is not None else "targets that are numbers"
            where = f" at each position of {facts.target}" if facts.classes is not None and facts.target else ""
            return Problem(f"binary_classification wants two classes, and the data has {has}{where}")
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

    def loss_function(self) -> Function:
        loss = self.loss.function()
        return lambda output, target: loss(output, target.unsqueeze(1).to(output.dtype))

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        accuracy = ((self.loss.predict(output).squeeze(1) > 0.5) == target).float().mean()
        return {"accuracy": accuracy, "error": 1 - accuracy}

    def scores(self, output: Tensor) -> Tensor:
        from ..losses.binary import BinaryCrossEntropy

        if isinstance(self.loss, BinaryCrossEntropy):
            return output.squeeze(1)
        return self.loss.predict(output).squeeze(1).clamp(0, 1).logit()
