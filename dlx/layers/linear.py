"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..lazy import nn
from ..shapes import Shape
from .arithmetic import Line, line, product, unchanged
from .base import OWN, AxisMap, Example, Layer, Plan, SavedIf, WindowLike, floats

if TYPE_CHECKING:
    from torch.nn import Module


class Linear(Layer):
    """Linear map of the last axis to `out_features` values.

    Shapes: (in,) -> (out_features,); (*, in) -> (*, out_features), the same weights at every place of the others. An
        image is flattened first. With `tie`, the weight is that of another linear layer, transposed, or that of an
        embedding as it is.
    Cost: one MAC per weight and place on the other axes; adding the bias is not counted.
    Errors: an input that is not of floats.
    Source: Prince 2023, Understanding Deep Learning, section 4.4. torch: Linear.
    """

    kind: ClassVar[str] = "linear"
    out_features: PositiveInt = Field(description="sums, and so values on the last axis of the output")
    bias: bool = Field(True, description="add a learned value to each sum")

    learns: ClassVar[bool] = True
    ties: ClassVar[bool] = True
    lends: ClassVar[Literal["transposed", "as it is"] | None] = "transposed"
    example: ClassVar[Example] = Example(
        {"out_features": 10},
        [(4, 64)],
        shape=(4, 10),
        params=10 * 64 + 10,
        macs=4 * 10 * 64,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "linear")
        window: WindowLike = "global" if len(x) == 1 else AxisMap((*range(len(x) - 1), None))
        return Plan(
            shape=Shape((*x[:-1], self.out_features)),
            weights={"weight": (self.out_features, x[-1])} | self._bias(),
            macs=x.count * self.out_features,
            window=window,
            saved=(),
            saved_if=(SavedIf((OWN,), input=0),),
            reads_weights=(0,),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        *places, n = xs[0]
        values = {"in_features": n, "out_features": self.out_features}
        bias = Line("bias", "", f"{self.out_features:,}", self.out_features, "one for each sum", "parameters")
        each = f"{product(places)} places * " if places else ""
        numbers = f"{each}{n:,} values * {self.out_features:,} sums"
        formula = f"{'places * ' if places else ''}in_features * out_features"
        return [
            *(replace(made, what="places") for made in unchanged(xs[0], range(len(places)))),
            line("out_features", values, axes=len(places), what="features"),
            line("in_features * out_features", values, part="parameters", what="weight"),
            *([bias] if self.bias else []),
            Line("", formula, numbers, plan.macs, part="multiply-adds"),
        ]

    def module(self, *xs: Shape) -> Module:
        return nn.Linear(xs[0][-1], **self.options())

    def tied_plan(self, x: Shape) -> Plan:
        own = self.plan(x)
        return Plan(own.shape, self._bias(), macs=own.macs, window=own.window, saved=(), saved_if=own.saved_if)

    def tied_weight_shape(self, x: Shape, transposed: bool = True) -> tuple[int, ...]:
        return (x[-1], self.out_features) if transposed else (self.out_features, x[-1])

    def tied_module(self, x: Shape, transposed: bool = True) -> Module:
        from ..modules.tied import TiedLinear

        return TiedLinear(x[-1], **self.options(), transposed=transposed)

    def _bias(self) -> dict[str, tuple[int, ...]]:
        return {"bias": (self.out_features,)} if self.bias else {}
