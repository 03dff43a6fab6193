"""Regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..losses import LOSSES, Loss
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor


class Regression(Supervised):
    """Predict numbers; the network gives one output for each value of the target.

    Shapes: outputs and targets (N, *target); a loss that is a distribution says itself what it wants. Metrics: mse
    and mae, the mean squared and mean absolute error over all values, of the mean where the output is a
    distribution. r2 can be asked for.
    """

    kind: ClassVar[str] = "regression"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("squared_error"), description="what training makes small"
    )
    default_metrics: ClassVar[tuple[str, ...]] = ("mse", "mae")
    measures: ClassVar[Literal["classes", "values", "boxes"]] = "values"

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.target is None or facts.classes is not None:
            return Problem(
                f"regression wants targets that are numbers, and the data has {facts.classes} classes",
                f"Use `objective: {'classification' if facts.target is None else 'segmentation'}`.",
            )
        if self.loss.wants != "values":
            return Problem(
                f"the loss {self.loss.kind} wants {self.loss.wants}, and regression has numbers",
                "Use `loss: squared_error`.",
            )
        if check_shape := self.loss.check_shape(facts.target):
            return Problem(check_shape, "Sum up losses of the same output.")
        wanted = self.loss.outputs(facts.target)
        if tuple(output) == tuple(wanted):
            return None
        last = f"linear: {wanted[0]}" if wanted.rank == 1 else f"conv: {{out_channels: {wanted[0]}, kernel_size: 1}}"
        of_loss = f", for which {self.loss.kind} wants {wanted}" if tuple(wanted) != tuple(facts.target) else ""
        return Problem(
            f"the network ends in {output}, and each target of the data is {facts.target}{of_loss}",
            f"Let the last layer be `{last}`.",
        )

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        residual = self.loss.residual(output, target)
        return {"mse": residual.square().mean(), "mae": residual.abs().mean()}

    def scores(self, output: Tensor) -> Tensor:
        return self.loss.predict(output)
