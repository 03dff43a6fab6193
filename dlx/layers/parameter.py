"""Learned and given tensors, and scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt, model_validator

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


Values = float | list[float] | list[list[float]] | list[list[list[float]]]


def _rectangular(values: Values) -> Values:
    if _axes_of(values) is None:
        raise ValueError("`value` holds rows of several lengths, or none: give each as many numbers")
    return values


def _axes_of(values: Any) -> tuple[int, ...] | None:
    """Return the lengths of nested lists; None where they are empty, or not equal along an axis."""
    if not isinstance(values, list):
        return ()
    inner = {_axes_of(each) for each in values}
    one = inner.pop() if len(inner) == 1 else None
    return None if one is None else (len(values), *one)


class Constant(Layer):
    """A tensor that is given and never learned, equal for every sample: weights of a sum, a grid, a mask.

    What comes in gives the size of the batch, and the shape where `value` is a single number.

    Shapes: (*) -> (*) for a single number; -> the shape of the lists, without the batch.
    Cost: nothing learned; a buffer of its values; no MACs.
    Errors: lists that are empty, or of several lengths; `dtype: int` with a value that is not whole.
    Source: arithmetic. torch: none; it is a buffer of a torch.nn.Module.
    """

    kind: ClassVar[str] = "constant"
    value: Annotated[Values, AfterValidator(_rectangular)] = Field(
        description="a number for all values of the shape that comes in, or a list, a table or a stack of numbers"
    )
    dtype: Literal["float", "int"] = Field("float", description="int: to index with, or to embed")

    example: ClassVar[Example] = Example({"value": [[1, 0, 2], [0, 1, 2]]}, [(7,)], shape=(2, 3), buffers=6)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.dtype == "int" and not all(value.is_integer() for value in _flat(self.value)):
            raise ValueError("`value` holds numbers that are not whole, and `dtype` is int")
        return self

    def plan(self, *xs: Shape) -> Plan:
        shape = _axes_of(self.value) or tuple(xs[0])
        return Plan(Shape(shape, self.dtype), buffers={"value": shape}, window="nothing", saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.parameter import Constant as Built

        return Built(self.value, _axes_of(self.value) or tuple(xs[0]), self.dtype == "int")


def _flat(values: Values) -> list[float]:
    return [one for each in values for one in _flat(each)] if isinstance(values, list) else [float(values)]


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
