"""Reshaping: the same values on other axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape
from .arithmetic import Line, axis_names, product, unchanged
from .base import Axes, Example, Layer, Plan, axis_of

if TYPE_CHECKING:
    from torch.nn import Module


class Flatten(Layer):
    """Flatten the axes from `start_dim` to `end_dim` to one.

    Shapes: (C, *size) -> (C * product of size,); with `start_dim` 2, (C, *size) -> (C, product of size).
    Cost: nothing; the output shares the memory of the input.
    Errors: a `dim` that is the batch or no axis; an end before its start.
    Source: numpy's ravel, without the batch. torch: Flatten.
    """

    kind: ClassVar[str] = "flatten"
    start_dim: int = Field(1, description="first axis laid flat; the batch is axis 0")
    end_dim: int = Field(-1, description="last axis laid flat")

    example: ClassVar[Example] = Example({}, [(8, 5, 6)], shape=(8 * 5 * 6,))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        first, last = axis_of(x, self.start_dim, "flatten"), axis_of(x, self.end_dim, "flatten")
        if first > last:
            raise ShapeError(
                f"flatten starts at axis {first + 1} and ends at axis {last + 1} of {{0}}",
                hint="Give a start_dim that comes before end_dim; the batch is axis 0.",
                inputs=[x],
            )
        shape = Shape((*x[:first], prod(x[first : last + 1]), *x[last + 1 :]), x.dtype)
        return Plan(shape=shape, window="pointwise" if shape == x else "flat", view=True, saved=())

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        first, last = (axis_of(x, dim, "flatten") for dim in (self.start_dim, self.end_dim))
        names, laid = axis_names(len(x))[first : last + 1], x[first : last + 1]
        flat = Line("", " * ".join(names), product(laid), prod(laid), axes=(first,))
        return [*unchanged(x, range(first)), flat, *unchanged(x, range(last + 1, len(x)), moved=first - last)]

    def module(self, *_: Shape) -> Module:
        return nn.Flatten(**self.options())


def _fillable(shape: list[int]) -> list[int]:
    if any(n < 1 and n != -1 for n in shape) or shape.count(-1) > 1:
        raise ValueError(f"`shape` holds numbers above 0, and at most one -1 for what is left, not {shape}")
    return shape


class Reshape(Layer):
    """Give the values of a sample another shape, in the same order.

    Shapes: any of as many values -> `shape`; one axis may be -1, and takes what is left.
    Cost: nothing; the output shares the memory of the input.
    Errors: a shape that does not hold exactly the values of the input.
    Source: numpy's reshape, without the batch. torch: none; Unflatten splits one axis.
    """

    kind: ClassVar[str] = "reshape"
    shape: Annotated[Axes, AfterValidator(_fillable)] = Field(
        description="the axes of the output, channels first, without the batch; one may be -1"
    )

    example: ClassVar[Example] = Example({"shape": [1, -1]}, [(40,)], shape=(1, 40))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        known = prod(n for n in self.shape if n != -1)
        if x.count % known or (known != x.count and -1 not in self.shape):
            raise ShapeError(
                f"{{0}} holds {x.count:,} values, which do not fill {Shape(self.shape)}",
                hint="The axes must multiply to as many values; write -1 for the one to be worked out.",
                inputs=[x],
                instead=None if -1 in self.shape else Plan(shape=Shape(self.shape, x.dtype), window="flat", saved=()),
            )
        shape = Shape([x.count // known if n == -1 else n for n in self.shape], x.dtype)
        return Plan(shape=shape, window="pointwise" if shape == x else "flat", view=True, saved=())

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        known = [n for n in self.shape if n != -1]
        left = f"{xs[0].count:,} values" + "".join(f" / {n:,}" for n in known)
        return [
            Line("", "what is left", left, n, axes=(k,))
            if self.shape[k] == -1
            else Line("", "", f"{n:,}", n, "as `shape` says", axes=(k,))
            for k, n in enumerate(plan.shape)
        ]

    def module(self, *_: Shape) -> Module:
        from ..modules.reshape import Reshape as Built

        return Built(self.shape)


class Identity(Layer):
    """Return the input unchanged: an empty branch, or a named place.

    Shapes: (*) -> (*).
    Cost: nothing; the output is the input.
    Errors: none.
    Source: torch: Identity.
    """

    kind: ClassVar[str] = "identity"

    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        return Plan(shape=xs[0], view=True, saved=())

    def module(self, *_: Shape) -> Module:
        return nn.Identity()
