"""Distributions with a fixed standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from ..lazy import nn
from .filling import Filling

if TYPE_CHECKING:
    from torch import Tensor


class Normal(Filling):
    """Normal, with one standard deviation for all layers. torch: normal_, where `std` is 1 unless given."""

    kind: ClassVar[str] = "normal"
    draws: ClassVar[bool] = True
    std: NonNegativeFloat = Field(description="standard deviation")
    mean: float = Field(0.0, description="middle of the distribution")

    def fill(self, weight: Tensor) -> None:
        nn.init.normal_(weight, self.mean, self.std)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        self.fill(values)


class TruncatedNormal(Normal):
    """Normal, truncated at `cut` standard deviations from the mean.

    The spread that results is a little smaller: 0.880 `std` for a cut of 2. torch: trunc_normal_, whose cuts are
    absolute values, -2 and 2.
    """

    kind: ClassVar[str] = "trunc_normal"
    std: PositiveFloat = Field(description="standard deviation")
    cut: Annotated[float, Field(gt=0)] = Field(2.0, description="standard deviations from the mean that are left")

    def fill(self, weight: Tensor) -> None:
        far = self.cut * self.std
        nn.init.trunc_normal_(weight, self.mean, self.std, self.mean - far, self.mean + far)


class Uniform(Filling):
    """Uniform between two values: variance (b - a)^2 / 12. torch: uniform_, which has 0 to 1 unless given."""

    kind: ClassVar[str] = "uniform"
    draws: ClassVar[bool] = True
    b: float = Field(description="largest value")
    a: float | None = Field(None, description="smallest value; else -b")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.b:
            raise ValueError(f"uniform from a = {self.low:g} to b = {self.b:g} is empty: let a be the smaller one")
        return self

    @property
    def low(self) -> float:
        return -self.b if self.a is None else self.a

    def fill(self, weight: Tensor) -> None:
        nn.init.uniform_(weight, self.low, self.b)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        self.fill(values)
