"""Activations that change the number of channels, or differ by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError, plural
from ..registry import Choice
from ..shapes import Shape
from .activation_along import _along
from .arithmetic import Line, line, unchanged
from .base import LAYERS, Example, Layer, Plan, axis_of, floats

if TYPE_CHECKING:
    from torch.nn import Module


class CReLU(Layer):
    """Positive and negative parts of each value, in channels of their own

    All positive halves come first. The negative ones are max(0, -x) in the paper that it comes from; Prince's book
    clips instead and keeps the sign, min(0, x): `form: book`.

    Shapes: (C, *size) -> (2 * C, *size), along `dim` (1: the channels; the batch is axis 0).
    Cost: no MACs, as torch's counter has it.
    Errors: a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Shang et al. 2016, arXiv:1603.05201, definition 2.1; Prince 2023, Understanding Deep Learning, notes of
        chapter 3. torch: none.
    """

    kind: ClassVar[str] = "crelu"
    form: Literal["paper", "book"] = Field("paper", description="the second half is max(0, -x), or min(0, x)")
    dim: int = Field(1, description="axis that is doubled; the batch is axis 0")

    example: ClassVar[Example] = Example({}, [(4, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        lines = _along(x, self.dim, "crelu")
        axis = axis_of(x, self.dim, "crelu")
        y = Shape((*x[:axis], 2 * x[axis], *x[axis + 1 :]))
        return Plan(shape=y, window=lines.window, saved=(), saved_bytes=2 * x.bytes)

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        axis = axis_of(x, self.dim, "crelu")
        doubled = line("2 * values", {"values": x[axis]}, axes=axis)
        return [*unchanged(x, range(axis)), doubled, *unchanged(x, range(axis + 1, len(x)))]

    def module(self, *_: Shape) -> Module:
        from ..modules import activation

        return activation.CReLU(**self.options())


class Maxout(Layer):
    """The maximum of every `pieces` neighbouring channels

    A maxout layer of n units is a linear layer (or convolution) of pieces * n, and this: each unit takes the largest
    of its own `pieces` weighted sums.

    Shapes: (C, *size) -> (C / pieces, *size), along `dim` (1: the channels; the batch is axis 0).
    Cost: no MACs, as torch's counter has it.
    Errors: C not a multiple of `pieces`; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Goodfellow et al. 2013, arXiv:1302.4389, section 3. torch: none.
    """

    kind: ClassVar[str] = "maxout"
    pieces: PositiveInt = Field(2, description="values that each result is the largest of")
    dim: int = Field(1, description="axis that is shortened; the batch is axis 0")

    example: ClassVar[Example] = Example({"pieces": 4}, [(8, 5, 5)], shape=(2, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        lines = _along(x, self.dim, "maxout")
        axis = axis_of(x, self.dim, "maxout")
        if x[axis] % self.pieces:
            raise ShapeError(
                f"maxout takes {self.pieces} values at a time, and the {x[axis]} on axis {axis + 1} of {{0}} do not "
                "come out even",
                hint=f"Give the layer before {self.pieces} times as many as you want to have.",
                inputs=[x],
            )
        y = Shape((*x[:axis], x[axis] // self.pieces, *x[axis + 1 :]))
        return Plan(shape=y, window=lines.window, saved=(), saved_bytes=8 * y.count)  # which one it was, as int64

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        axis = axis_of(x, self.dim, "maxout")
        shortened = line("values / pieces", {"values": x[axis], "pieces": self.pieces}, axes=axis)
        return [*unchanged(x, range(axis)), shortened, *unchanged(x, range(axis + 1, len(x)))]

    def module(self, *_: Shape) -> Module:
        from ..modules import activation

        return activation.Maxout(**self.options())


class PerUnit(Layer):
    """A different activation for each channel

    Shapes: (*) -> (*), along `dim` (1: the channels, or the units of a vector; the batch is axis 0).
    Cost: that of the activations.
    Errors: more or fewer activations than channels; one that does not work on each value by itself; a `dim` that is
        the batch or no axis; an input that is not of floats.
    Source: Russell & Norvig 2021, Artificial Intelligence, equation 22.2, where unit j has its own g_j. torch: none.
    """

    kind: ClassVar[str] = "per_unit"
    activations: Annotated[list[Layer], Choice(LAYERS), Field(min_length=1)] = Field(
        description="one for each channel, in their order"
    )
    dim: int = Field(1, description="axis of the units; the batch is axis 0")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"activations": ["relu", {"leaky_relu": {"negative_slope": 0.1}}, "prelu"]}, [(3, 5)], shape=(3, 5), params=1
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "per_unit")
        axis = axis_of(x, self.dim, "per_unit")
        if len(self.activations) != x[axis]:
            raise ShapeError(
                f"per_unit has {plural(len(self.activations), 'activation')} for the {x[axis]} units on axis "
                f"{axis + 1} of {{0}}",
                hint="Give one for each unit; `identity` leaves one as it is.",
                inputs=[x],
            )
        plans = [self._plan_of(layer, self._unit(x)) for layer in self.activations]
        return Plan(
            shape=x,
            weights={f"{i}.{name}": s for i, plan in enumerate(plans) for name, s in plan.weights.items()},
            saved=("inputs",) if any("inputs" in plan.saved for plan in plans) else (),
            saved_bytes=sum(_saved_bytes(plan, self._unit(x)) for plan in plans),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules import activation

        return activation.PerUnit([layer.module(self._unit(xs[0])) for layer in self.activations], self.dim)

    def _unit(self, x: Shape) -> Shape:
        """Return the input shape of one activation."""
        axis = axis_of(x, self.dim, "per_unit")
        return Shape((*x[:axis], 1, *x[axis + 1 :]))

    @staticmethod
    def _plan_of(layer: Layer, unit: Shape) -> Plan:
        plan = layer.plan(unit) if layer.arity == 1 and "dim" not in type(layer).model_fields else None
        if plan is None or plan.shape != unit or plan.window != "pointwise" or plan.buffers or plan.macs:
            raise ShapeError(
                f"per_unit gives each unit to an activation of its own, and {layer.kind} does not work on each value "
                "by itself",
                hint="Name activations such as relu, tanh or sigmoid.",
            )
        return plan


def _saved_bytes(plan: Plan, unit: Shape) -> int:
    """Return the bytes that torch saves for one unit beside the input, of which it has a slice."""
    return ("output" in plan.saved) * unit.bytes + plan.saved_bytes
