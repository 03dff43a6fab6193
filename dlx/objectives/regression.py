"""Numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..losses import LOSSES, Loss, SquaredError
from ..registry import Choice
from ..shapes import Shape
from .base import Objective

if TYPE_CHECKING:
    from torch import Tensor


class Regression(Objective):
    """Predict numbers; the network gives one output for each value of the target.

    Shapes: outputs and targets (N, *target). Metrics: mse and mae, the mean squared and mean absolute error over
    all values.
    """

    kind: ClassVar[str] = "regression"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(SquaredError(), description="what training makes small")
    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae")

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.target is None:
            return Problem(
                f"regression wants targets that are numbers, and the data has {facts.classes} classes",
                "Use `objective: classification`.",
            )
        if self.loss.wants == "classes":
            return Problem(
                f"the loss {self.loss.kind} wants classes, and regression has numbers", "Use `loss: squared_error`."
            )
        if tuple(output) == tuple(facts.target):
            return None
        return Problem(
            f"the network ends in {output}, and each target of the data is {facts.target}",
            f"Let the last layer be `linear: {facts.target[-1]}`.",
        )

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        gap = output - target
        return {"mse": gap.square().mean(), "mae": gap.abs().mean()}
