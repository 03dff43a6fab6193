"""Slices of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from ..errors import ShapeError
from ..shapes import Shape, Window
from .base import AxisMap, AxisSlice, Example, Layer, Plan, WindowLike, axis_of

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module


class Slice(Layer):
    """Slice one axis from `start` up to `stop`, exclusive.

    Shapes: n values on the axis -> (stop - start) / step, rounded up; the others stay. `start` and `stop` may count
        from the end, as in Python: -1 is the last.
    Cost: nothing; the output shares the memory of the input.
    Errors: a `dim` that is the batch or no axis; a `start` or `stop` that the axis does not have; nothing left.
    Source: Python's x[start:stop:step]. torch: none; it is indexing.
    """

    kind: ClassVar[str] = "slice"
    dim: int = Field(1, description="axis that is cut; the batch is axis 0")
    start: int = Field(0, description="first value that is kept; may count from the end")
    stop: int | None = Field(None, description="first value that is not; may count from the end; null for all")
    step: PositiveInt = Field(1, description="keep every so many")

    example: ClassVar[Example] = Example({"dim": 2, "start": 1, "stop": -1}, [(4, 6, 5)], shape=(4, 4, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        axis = axis_of(x, self.dim, "slice")
        n = x[axis]
        start, stop = (edge + n if edge < 0 else edge for edge in (self.start, n if self.stop is None else self.stop))
        if not 0 <= start < stop <= n:
            shown = f"from {self.start} to {'the end' if self.stop is None else self.stop}"
            raise ShapeError(
                f"slice keeps nothing, or more than there is: {shown} of the {n} values on axis {axis + 1} of {{0}}",
                hint=f"Let 0 <= start < stop <= {n}; numbers below 0 count from the end.",
                inputs=[x],
            )
        return part(x, axis, start, stop, self.step)

    def module(self, *xs: Shape) -> Module:
        from ..modules.slice import Slice as Built

        return Built(axis_of(xs[0], self.dim, "slice") + 1, self.start, self.stop, self.step)


class Select(Layer):
    """Select one entry of an axis, which is removed: the class token of a transformer, the last step of a sequence.

    Shapes: (T, D) -> (D,) for dim = 1; in general all axes but the one at `dim`.
    Cost: nothing; the output shares the memory of the input.
    Errors: a vector, which has no axis to lose; a `dim` that is the batch or no axis; an `index` that the axis does
        not have.
    Source: Python's x[:, index]. torch: none; it is indexing.
    """

    kind: ClassVar[str] = "select"
    index: int = Field(description="the entry that is kept; -1 is the last")
    dim: int = Field(1, description="axis that it is chosen from; the batch is axis 0")

    example: ClassVar[Example] = Example({"index": -1}, [(7, 12)], shape=(12,))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        axis = axis_of(x, self.dim, "select")
        if len(x) == 1:
            raise ShapeError("select loses an axis, and {0} has only one", "`- slice` keeps a single value too.", [x])
        if not -x[axis] <= self.index < x[axis]:
            raise ShapeError(
                f"select takes index {self.index} of axis {axis + 1} of {{0}}, which has {x[axis]} entries",
                hint=f"They are 0 to {x[axis] - 1}; -1 is the last.",
                inputs=[x],
            )
        return Plan(
            shape=Shape((*x[:axis], *x[axis + 1 :]), x.dtype),
            window=AxisMap(tuple(k for k in range(len(x)) if k != axis), ((axis, self.index % x[axis]),)),
            view=True,
            saved=(),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.slice import Select as Built

        return Built(axis_of(xs[0], self.dim, "select") + 1, self.index)


def _parts(sizes: list[int] | None) -> list[int] | None:
    if sizes is not None and (len(sizes) < 2 or min(sizes) < 1):
        raise ValueError(f"`sizes` holds two numbers above 0 or more, not {sizes}")
    return sizes


class Split(Layer):
    """Split one axis into chunks, and keep the one at `index`; a layer for each chunk takes the same input.

    Shapes: (C, *size) -> (C / chunks, *size), or (sizes[index], *size).
    Cost: nothing; the output shares the memory of the input.
    Errors: values that do not split into `chunks`, or that `sizes` do not add up to; an `index` that is no piece;
        both `chunks` and `sizes`, or neither; a `dim` that is the batch or no axis.
    Source: Ma et al. 2018, arXiv:1807.11164, section 3.2 (channel split). torch: none; it is torch.split.
    """

    kind: ClassVar[str] = "split"
    chunks: PositiveInt | None = Field(None, description="pieces of one size")
    sizes: Annotated[list[int] | None, AfterValidator(_parts)] = Field(None, description="or the size of each piece")
    index: NonNegativeInt = Field(description="the piece that is kept; the first is 0")
    dim: int = Field(1, description="axis that is cut; the batch is axis 0")

    example: ClassVar[Example] = Example({"chunks": 2, "index": 1}, [(8, 5, 5)], shape=(4, 5, 5))

    @model_validator(mode="after")
    def _one_way_to_cut(self) -> Self:
        if (self.chunks is None) == (self.sizes is None):
            raise ValueError("`split` wants either `chunks` or `sizes`")
        pieces = self.chunks or len(self.sizes or ())
        if self.index >= pieces:
            raise ValueError(f"`index` = {self.index} is none of the {pieces} pieces: the first is 0")
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        return part(x, *self._place(x))

    def _place(self, x: Shape) -> tuple[int, int, int]:
        """Return the axis, and where the chunk starts and stops."""
        axis = axis_of(x, self.dim, "split")
        n = x[axis]
        if self.chunks is not None and n % self.chunks:
            nearest = max(k for k in range(1, min(self.chunks, n + 1)) if n % k == 0)
            raise ShapeError(
                f"the {n} values on axis {axis + 1} of {{0}} do not split into chunks = {self.chunks}",
                hint=f"{nearest} would do; or give the `sizes`.",
                inputs=[x],
            )
        sizes = self.sizes or [n // (self.chunks or 1)] * (self.chunks or 1)
        if sum(sizes) != n:
            raise ShapeError(
                f"sizes = {sizes} add up to {sum(sizes)}, and axis {axis + 1} of {{0}} has {n} values",
                hint=f"They must add up to {n}; `- slice` leaves values out.",
                inputs=[x],
            )
        start = sum(sizes[: self.index])
        return axis, start, start + sizes[self.index]

    def module(self, *xs: Shape) -> Module:
        from ..modules.slice import Slice as Built

        axis, start, stop = self._place(xs[0])
        return Built(axis + 1, start, stop)


def part(x: Shape, axis: int, start: int, stop: int, step: int = 1) -> Plan:
    """Return the plan of a layer that keeps the values from `start` to `stop` of one axis."""
    shape = Shape((*x[:axis], -((start - stop) // step), *x[axis + 1 :]), x.dtype)
    window: WindowLike = "pointwise" if shape == x else AxisSlice(axis, start, step)
    if axis and shape != x:
        here = [k == axis for k in range(1, len(x))]
        window = Window(
            kernel=(1,) * len(here),
            stride=tuple(step if k else 1 for k in here),
            before=tuple(-start if k else 0 for k in here),
            after=tuple(stop - x[axis] if k else 0 for k in here),
            dilation=(1,) * len(here),
        )
    return Plan(shape=shape, window=window, by_channel=True, view=True, saved=())
