"""Fully connected layers of autoregressive networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from ..utils.variable_order import Order, ranks
from .arithmetic import Line
from .base import Example, Layer, Plan, SavedIf, floats
from .linear import Linear

if TYPE_CHECKING:
    from torch.nn import Module

Side = Literal["variables", "hidden"]
FLOAT = 4


class MaskedLinear(Layer):
    """Linear map whose outputs see earlier variables alone, the layer of MADE.

    Each variable has its place in `order` as its degree, from 1 to D; hidden units have the degrees 1 to D - 1 in
    turn. A hidden unit of degree m sees inputs of a degree up to m, and what is given for a variable of degree d sees
    those below d. So a stack of such layers gives for each variable what depends on those before it; all have one
    `order`. Several values of a variable lie side by side.

    Shapes: (in,) -> (out_features,); (*, in) -> (*, out_features).
    Cost: parameters and MACs of `linear`, those of masked weights too; a buffer of the mask.
    Errors: values of variables that are no multiple of `variables`; hidden units without `variables`; one variable.
    Source: Germain et al. 2015, MADE, arXiv:1502.03509, equations 8 and 9; degrees in turn in place of drawn ones.
        torch: none.
    """

    kind: ClassVar[str] = "masked_linear"
    out_features: PositiveInt = Field(description="sums, and so values on the last axis of the output")
    bias: bool = Field(True, description="add a learned value to each sum")
    reads: Side = Field("variables", description="what the inputs are: values of the variables, or hidden units")
    gives: Side = Field("hidden", description="what the outputs are: hidden units, or values of the variables")
    variables: PositiveInt | None = Field(None, description="variables; null: as many as there are inputs")
    order: Order = Field("natural", description="of the variables: as they lie, or drawn from a seed")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_features": 10, "reads": "hidden", "gives": "variables", "variables": 5},
        [(8,)],
        shape=(10,),
        params=10 * 8 + 10,
        macs=10 * 8,
        buffers=10 * 8,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        own = self._linear().plan(x)
        for side, size, what in ((self.reads, x[-1], "{0} has"), (self.gives, self.out_features, "out_features is")):
            self._degrees_fit(side, size, what, xs)
        weight = own.weights["weight"]
        made = FLOAT * prod(weight)
        return replace(
            own,
            buffers={"mask": weight},
            saved_if=(*own.saved_if, SavedIf((0,), fixed=made)),
            derived_bytes=2 * made,
        )

    def _degrees_fit(self, side: Side, size: int, what: str, xs: Sequence[Shape]) -> None:
        """Raise a ShapeError where `size` values on one side of the layer are not those of its variables."""
        count = self._variables(xs[0])
        if count is None:
            raise ShapeError(
                "masked_linear reads hidden units, and from how many variables they come is not said",
                hint="Write `variables: N`, the number of inputs of the first masked layer.",
                inputs=xs,
            )
        if count < 2:
            raise ShapeError("masked_linear orders variables, and there is one", hint="Take `linear`.", inputs=xs)
        if side == "variables" and size % count:
            raise ShapeError(
                f"masked_linear has {count} variables with as many values each, and {what} {size}",
                hint=f"Take a multiple of {count}.",
                inputs=xs,
            )

    def _variables(self, x: Shape) -> int | None:
        return self.variables or (x[-1] if self.reads == "variables" else None)

    def degrees(self, side: Side, size: int, variables: int) -> list[int]:
        """Return the degrees of `size` inputs or outputs."""
        if side == "hidden":
            return [1 + unit % (variables - 1) for unit in range(size)]
        values = size // variables
        return [1 + rank for rank in ranks(self.order, variables) for _ in range(values)]

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        return self._linear().derivation(plan, *xs)

    def module(self, *xs: Shape) -> Module:
        from ..modules.masked import MaskedLinear as Built

        count = self._variables(xs[0]) or 0
        below = self.degrees(self.reads, xs[0][-1], count)
        above = self.degrees(self.gives, self.out_features, count)
        return Built(below, above, strict=self.gives == "variables", bias=self.bias)

    def _linear(self) -> Linear:
        return Linear(out_features=self.out_features, bias=self.bias)
