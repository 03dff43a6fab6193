"""Weighted sums of losses of the same output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from ..lazy import F
from ..registry import Choice
from ..shapes import Shape
from .base import LOSSES, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


class Sum(Loss):
    """weights[0] * losses[0] + weights[1] * losses[1] + ..., such as cross-entropy and dice for maps.

    Each is reduced by itself, as `reduction` of the sum says. Beside a loss of classes, one of values (dice,
    squared_error) gets the target as ones and zeros. Predictions and metrics are those of the first.
    Shapes: those of its losses. Errors: a number of weights that is not that of the losses; losses that want outputs
    of different shapes, a `reduction` of their own, class weights or an `ignore_index`, as their means are over
    something else: `focal` with `gamma: 0` weighs classes and is averaged over all.
    """

    kind: ClassVar[str] = "sum"
    losses: Annotated[list[Loss], Choice(LOSSES)] = Field(min_length=2, max_length=10, description="what is added up")
    weights: list[PositiveFloat] | None = Field(None, description="factor on each; else 1")

    @classmethod
    def first_field(cls) -> str | None:
        return "losses"

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.losses):
            raise ValueError(f"`weights` has {len(self.weights)} values, and there are {len(self.losses)} losses")
        for one in self.losses:
            if isinstance(one, Sum):
                raise ValueError("a sum stands inside a sum: write all losses in one")  # noqa: TRY004
            if one.reduction != "mean":
                raise ValueError(f"`reduction` stands beside the `losses` of a sum, not in {one.kind}")
            counts = {"weight", "ignore_index"} & {
                name for name in type(one).model_fields if getattr(one, name) != one.default_of(name)
            }
            if counts and one.kind != "focal":
                raise ValueError(
                    f"{one.kind} with `{min(counts)}` has a mean of its own, which a sum cannot share: "
                    "`focal` with `gamma: 0` weighs classes"
                )
        return self

    @property
    def wants(self) -> Literal["classes", "values"]:  # type: ignore[override]
        return "classes" if any(one.wants == "classes" for one in self.losses) else "values"

    @property
    def on_maps(self) -> bool:  # type: ignore[override]
        return all(one.on_maps for one in self.losses)

    @property
    def balances(self) -> bool:
        return any(one.balances for one in self.losses)

    def balanced(self, positives: Sequence[int], count: int) -> Self:
        return self.model_copy(update={"losses": [one.balanced(positives, count) for one in self.losses]})

    @property
    def averageable(self) -> bool:  # type: ignore[override]
        return self.losses[0].averageable

    def function(self) -> Function:
        reduced = [one.model_copy(update={"reduction": self.reduction}) for one in self.losses]
        parts = [
            (weight, one.function(), self.wants == "classes" and one.wants == "values")
            for weight, one in zip(self.weights or [1.0] * len(reduced), reduced, strict=True)
        ]

        def loss(output: Tensor, target: Tensor) -> Tensor:
            each = [w * one(output, _channels(output, target) if spread else target) for w, one, spread in parts]
            return sum(each[1:], each[0])

        return loss

    def outputs(self, target: Shape) -> Shape:
        return self.losses[0].outputs(target)

    def check_shape(self, target: Shape) -> str:
        wanted = [(one.kind, one.outputs(target)) for one in self.losses]
        for kind, shape in wanted[1:]:
            if tuple(shape) != tuple(wanted[0][1]):
                return f"of the sum, {wanted[0][0]} wants an output of {wanted[0][1]}, and {kind} one of {shape}"
        return ""

    @property
    def logits(self) -> bool:  # type: ignore[override]
        return any(one.logits for one in self.losses)

    def check_values(self, targets: Any) -> str:
        return next(filter(None, (one.check_values(targets) for one in self.losses)), "")

    def check(self, classes: int) -> str:
        return next(filter(None, (one.check(classes) for one in self.losses)), "")

    def predict(self, output: Tensor) -> Tensor:
        return self.losses[0].predict(output)

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        return self.losses[0].residual(output, target)

    def probabilities(self, output: Tensor) -> Tensor | None:
        return self.losses[0].probabilities(output)

    def averaged(self, outputs: Tensor) -> Tensor:
        return self.losses[0].averaged(outputs)


def _channels(output: Tensor, target: Tensor) -> Tensor:
    """One-hot encode class numbers on axis 1."""
    spread: Any = F.one_hot(target, output.shape[1]).movedim(-1, 1).to(output.dtype)
    return spread  # type: ignore[no-any-return]
