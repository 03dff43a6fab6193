"""Entries of an axis that are picked by values: by an index, or as the largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, line, unchanged
from .base import AxisMap, Example, Layer, Plan, SavedIf, axis_of, floats

if TYPE_CHECKING:
    from torch.nn import Module


class Gather(Layer):
    """Gather entries of an axis by an input of integers, `from: [x, index]`.

    An index of one axis picks whole entries: words of a sentence, nodes of a graph. One with as many axes as x picks
    single values: y[i, j] = x[index[i, j], j] for dim = 1.

    Shapes: x of (T, D) and integers (K,) -> (K, D) for dim = 1; integers (K, D) -> (K, D) too.
    Cost: no MACs; values are read and nothing multiplied.
    Errors: an index that is not of integers; one of neither a single axis nor as many as x; other axes that differ; a
        `dim` that is the batch or no axis. A number beyond the axis fails when it runs.
    Source: indexing. torch: none; it is torch.gather.
    """

    kind: ClassVar[str] = "gather"
    dim: int = Field(1, description="axis of x that is indexed; the batch is axis 0")

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    example: ClassVar[Example] = Example({}, [(7, 12), (3,)], shape=(3, 12), dtype=["float", "int"])

    def plan(self, *xs: Shape) -> Plan:
        x, index = xs
        axis = axis_of(x, self.dim, "gather", xs)
        if index.dtype != "int":
            raise ShapeError(
                f"gather picks by numbers, and {{1}} holds values of dtype {index.dtype}",
                hint="Give them as `from: [x, index]`, with an input `{shape: [...], dtype: int}` as the index.",
                inputs=xs,
            )
        wanted = Shape((*x[:axis], index[axis if len(index) == len(x) else 0], *x[axis + 1 :]), x.dtype)
        if len(index) != 1 and index != wanted:
            raise ShapeError(
                f"gather picks from axis {axis + 1} of {{0}} by {{1}}, whose other axes differ",
                hint=f"The index is of a single axis, or {wanted} with any number in place of {wanted[axis]}.",
                inputs=xs,
            )
        return Plan(
            shape=wanted,
            window=AxisMap(tuple(None if k == axis else k for k in range(len(x)))),
            no_gradient=(1,),
            saved=(),
            saved_if=(SavedIf((0,), input=0), SavedIf((0,), input=1)),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        x, _ = xs
        axis = axis_of(x, self.dim, "gather", xs)
        picked = line("K", {"K": plan.shape[axis]}, axes=axis, note="as many as the index has")
        return [*unchanged(x, range(axis)), picked, *unchanged(x, range(axis + 1, len(x)))]

    def module(self, *xs: Shape) -> Module:
        from ..modules.slice import Gather as Built

        return Built(axis_of(xs[0], self.dim, "gather", xs) + 1)


class TopK(Layer):
    """The k largest values along an axis, or the k smallest, in order.

    Shapes: (C, *size) with n values on the axis -> k of them. torch takes the last axis where `dim` is left out, as
        here; the batch is axis 0.
    Cost: no MACs; comparisons are not counted.
    Errors: a k above the length of the axis; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Kalchbrenner et al. 2014, arXiv:1404.2188, section 3.3 (there in the order of the positions). torch: none;
        it is torch.topk, whose values it gives; `from: best.indices` takes its indices, as `gather` wants them.
    """

    kind: ClassVar[str] = "topk"
    k: PositiveInt = Field(description="values that are kept")
    dim: int = Field(-1, description="axis that they are chosen along; the batch is axis 0")
    largest: bool = Field(True, description="false: the smallest")

    example: ClassVar[Example] = Example({"k": 3}, [(8, 10)], shape=(8, 3))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "topk")
        axis = axis_of(x, self.dim, "topk")
        if self.k > x[axis]:
            raise ShapeError(
                f"topk keeps k = {self.k} of the {x[axis]} values on axis {axis + 1} of {{0}}",
                hint=f"Keep {x[axis]} or fewer.",
                inputs=[x],
            )
        shape = Shape((*x[:axis], self.k, *x[axis + 1 :]))
        window = AxisMap(tuple(None if k == axis else k for k in range(len(x))))
        return Plan(shape, window=window, saved=(), saved_bytes=8 * shape.count)  # the int64 of each

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        axis = axis_of(x, self.dim, "topk")
        largest = line("k", {"k": self.k}, axes=axis)
        return [*unchanged(x, range(axis)), largest, *unchanged(x, range(axis + 1, len(x)))]

    def results(self, *xs: Shape) -> Mapping[str, Shape]:
        return {"indices": Shape(self.plan(*xs).shape, "int")}

    def module(self, *xs: Shape) -> Module:
        from ..modules.slice import TopK as Built

        return Built(self.k, axis_of(xs[0], self.dim, "topk") + 1, self.largest)
