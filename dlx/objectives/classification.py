"""One class out of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..lazy import F
from ..losses import LOSSES, CrossEntropy, Loss
from ..registry import Choice
from ..shapes import Shape
from .base import Objective

if TYPE_CHECKING:
    from torch import Tensor


class Classification(Objective):
    """Name the class of each example; the network gives one logit a class.

    A loss that wants values (squared error) gets the target as a vector with a one at the class.
    Shapes: outputs (N, classes), targets (N,). Metrics: accuracy (share of examples whose largest logit is the
    target) and error = 1 - accuracy.
    """

    kind: ClassVar[str] = "classification"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(CrossEntropy(), description="what training makes small")
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "error")

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None:
            return Problem(
                f"classification wants classes, and the data has targets of shape {facts.target}",
                "Use `objective: regression`.",
            )
        if tuple(output) == (facts.classes,):
            return None
        return Problem(
            f"the network ends in {output}, and the data has {facts.classes} classes",
            f"Let the last layer be `linear: {facts.classes}`."
            if output.rank == 1
            else "Add `flatten` and a `linear`.",
        )

    def loss_function(self) -> Callable[[Tensor, Tensor], Tensor]:
        loss = self.loss.function()
        if self.loss.wants == "classes":
            return loss
        return lambda output, target: loss(output, F.one_hot(target, output.shape[1]).to(output.dtype))

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        accuracy = (output.argmax(1) == target).float().mean()
        return {"accuracy": accuracy, "error": 1 - accuracy}
