"""Permutations of axes and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape
from .base import Axes, AxisMap, Example, Layer, Plan, axis_of

if TYPE_CHECKING:
    from torch.nn import Module


class Permute(Layer):
    """Permute the axes, as a view.

    Shapes: with dims = [2, 3, 1], (C, H, W) -> (H, W, C). Axis 0 is the batch, and stays first.
    Cost: nothing; the output shares the memory of the input.
    Errors: `dims` that do not name each axis of the input once.
    Source: numpy's transpose. torch: none; it is torch.permute.
    """

    kind: ClassVar[str] = "permute"
    dims: Axes = Field(description="the axes in their new order, without the batch, which is axis 0")

    example: ClassVar[Example] = Example({"dims": [1, 3, 2]}, [(8, 5, 6)], shape=(8, 6, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        axes = [axis_of(x, dim, "permute") for dim in self.dims]
        if sorted(axes) != list(range(len(x))):
            raise ShapeError(
                f"permute has dims = {self.dims}, which are not the {len(x)} axes of {{0}} in another order",
                hint=f"Name each of {', '.join(map(str, range(1, len(x) + 1)))} once; the batch is axis 0.",
                inputs=[x],
            )
        return _ordered(x, axes)

    def module(self, *xs: Shape) -> Module:
        from ..modules.reshape import Permute as Built

        return Built([axis_of(xs[0], dim, "permute") + 1 for dim in self.dims])


class Transpose(Layer):
    """Swap two axes: tokens and their values, or rows and columns.

    Shapes: (C, T) -> (T, C); with dim0 = 2, dim1 = 3, (C, H, W) -> (C, W, H).
    Cost: nothing; the output shares the memory of the input.
    Errors: a `dim` that is the batch or no axis.
    Source: numpy's swapaxes. torch: none; it is torch.transpose.
    """

    kind: ClassVar[str] = "transpose"
    dim0: int = Field(1, description="one axis; the batch is axis 0")
    dim1: int = Field(2, description="the other")

    example: ClassVar[Example] = Example({}, [(96, 49)], shape=(49, 96))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        return _ordered(x, self._axes(x))

    def _axes(self, x: Shape) -> list[int]:
        a, b = axis_of(x, self.dim0, "transpose"), axis_of(x, self.dim1, "transpose")
        return [{a: b, b: a}.get(axis, axis) for axis in range(len(x))]

    def module(self, *xs: Shape) -> Module:
        from ..modules.reshape import Permute as Built

        return Built([axis + 1 for axis in self._axes(xs[0])])


def _ordered(x: Shape, axes: list[int]) -> Plan:
    return Plan(shape=Shape([x[axis] for axis in axes], x.dtype), window=AxisMap(tuple(axes)), view=True, saved=())


class Roll(Layer):
    """Roll the values along an axis; those that leave at one end come in at the other.

    Shapes: (*) -> (*). With shifts = [-3, -3] and dims = [2, 3], the value at (h, w) comes from (h + 3, w + 3), as in
        the shifted windows of Swin.
    Cost: no MACs; the values are copied.
    Errors: not one shift for each of `dims`; a `dim` that is the batch or no axis.
    Source: Liu et al. 2021, arXiv:2103.14030, section 3.2. torch: none; it is torch.roll.
    """

    kind: ClassVar[str] = "roll"
    shifts: Axes = Field(description="places that the values move on each axis of `dims`; below 0, to the front")
    dims: Axes = Field([1], description="axes along which they move; the batch is axis 0")

    example: ClassVar[Example] = Example({"shifts": 1}, [(6, 5)], shape=(6, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        axes = [axis_of(x, dim, "roll") for dim in self.dims]
        if len(axes) != len(self.shifts):
            raise ShapeError(
                f"roll has shifts = {self.shifts} for dims = {self.dims}",
                hint="Give one shift for each of `dims`.",
            )
        moved = tuple(sorted({axis - 1 for axis in axes}))  # round the end: from anywhere
        return Plan(shape=x, window=moved, saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.reshape import Roll as Built

        return Built(self.shifts, [axis_of(xs[0], dim, "roll") + 1 for dim in self.dims])


class ChannelShuffle(Layer):
    """Interleave the channels of groups, so that each of the next groups has some of every group.

    Shapes: (C, *size) -> (C, *size); seen as (groups, C / groups), the channels are transposed.
    Cost: no MACs; the values are copied.
    Errors: C not a multiple of `groups`; a vector.
    Source: Zhang et al. 2017, arXiv:1707.01083, section 3.1. torch: ChannelShuffle.
    """

    kind: ClassVar[str] = "channel_shuffle"
    groups: PositiveInt = Field(description="groups that the channels come from")

    example: ClassVar[Example] = Example({"groups": 2}, [(8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        if len(x) < 2:
            hint = "`- reshape: [-1, 1]` gives a vector one position."
            raise ShapeError("channel_shuffle wants channels and positions, and {0} has no positions", hint, [x])
        if x.channels % self.groups:
            raise ShapeError(
                f"the {x.channels} channels of {{0}} do not split into groups = {self.groups}",
                hint=f"Pick a divisor of {x.channels}.",
                inputs=[x],
            )
        return Plan(shape=x, window=(-1,), saved=())

    def module(self, *_: Shape) -> Module:
        return nn.ChannelShuffle(**self.options())
