"""Learned tensors and scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from ..shapes import Shape
from .base import OWN, Example, Layer, Plan, SavedIf, axis_of, floats

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module


class Parameter(Layer):
    """A learned tensor, equal for every sample: a class token, a position embedding, a scale.

    What comes in gives only the size of the batch. `concat`, `add` or `multiply` bring the tensor to what it is for:
    `- add` with `from: [tokens, positions]`.

    Shapes: (*) -> `shape`.
    Cost: one parameter a value; no MACs. A spec's `init` leaves it alone: it begins at `mean`, or normal around it.
    Errors: none.
    Source: Dosovitskiy et al. 2020, arXiv:2010.11929, section 3.1. torch: none; it is a torch.nn.Parameter.
    """

    kind: ClassVar[str] = "parameter"
    shape: list[PositiveInt] = Field(min_length=1, description="its axes, without the batch")
    mean: float = Field(0.0, description="where its values begin")
    std: NonNegativeFloat = Field(0.0, description="how far around `mean` they are drawn, from a normal distribution")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({"shape": [1, 12]}, [(7, 12)], shape=(1, 12), params=12)

    def plan(self, *_: Shape) -> Plan:
        return Plan(shape=Shape(self.shape), weights={"value": tuple(self.shape)}, window="nothing", saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.parameter import Parameter as Built

        return Built(self.shape, self.mean, self.std)


class Scale(Layer):
    """Multiply by a fixed or learned factor, one for all values or one for each channel.

    Shapes: (*) -> (*).
    Cost: nothing learned, or one parameter, or one for each value on the axis `dim`; no MACs.
    Errors: a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Prince 2023, Understanding Deep Learning, figure 11.6b (fixed); Touvron et al. 2021, arXiv:2103.17239,
        section 2.1 (LayerScale: learned, from 1e-6 on). torch: none; it is x * factor.
    """

    kind: ClassVar[str] = "scale"
    factor: float = Field(description="the factor; where it is learned, what it begins with")
    learned: bool = Field(False, description="whether training moves it")
    dim: int | None = Field(None, description="axis each value of which has a factor of its own; null: one for all")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"factor": 1e-6, "learned": True, "dim": 1}, [(96, 7, 7)], shape=(96, 7, 7), params=96
    )

    @model_validator(mode="after")
    def _own_factors_are_learned(self) -> Self:
        if self.dim is not None and not self.learned:
            raise ValueError(
                "`dim` gives each value on an axis a factor of its own, which only `learned: true` can have"
            )
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "scale")
        if not self.learned:
            return Plan(shape=x, saved=())
        weight = (x[self._axis(x)] if self.dim is not None else 1,)
        return Plan(
            shape=x, weights={"weight": weight}, saved=(), saved_if=(SavedIf((OWN,), input=0),), reads_weights=(0,)
        )

    def _axis(self, x: Shape) -> int:
        return axis_of(x, self.dim or 0, "scale")

    def module(self, *xs: Shape) -> Module:
        from ..modules.parameter import LearnedScale, Scale

        if not self.learned:
            return Scale(self.factor)
        if self.dim is None:
            return LearnedScale(self.factor, 1)
        after = len(xs[0]) - self._axis(xs[0]) - 1
        return LearnedScale(self.factor, xs[0][self._axis(xs[0])], after)
