"""Base class of initialisers with a value for the biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..lazy import nn
from .base import Initializer

if TYPE_CHECKING:
    from torch import Tensor


class Filling(Initializer):
    """Base class of initialisers with a value for the biases, or `drawn` for those with a standard deviation."""

    draws: ClassVar[bool] = False
    bias: float | Literal["drawn"] = Field(
        0.0, description="value of each bias; drawn: as the weight beside it, by the same fan"
    )

    @classmethod
    def first_field(cls) -> str | None:
        return next((name for name in cls.model_fields if name != "bias"), None)

    @model_validator(mode="after")
    def _can_draw(self) -> Self:
        if self.bias == "drawn" and not self.draws:
            raise ValueError(f"{self.kind} cannot draw biases: give `bias` a number")
        return self

    def fill_bias(self, bias: Tensor, weight: Tensor | None) -> None:
        if isinstance(self.bias, float | int):
            nn.init.constant_(bias, self.bias)
        elif weight is not None:
            self.draw(bias, weight)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        """Draw `values` with the standard deviation that follows from the shape of `weight`."""
