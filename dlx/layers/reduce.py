"""Reductions along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..shapes import Shape
from .base import Axes, AxisMap, Example, InputPaths, Layer, Plan, SavedIf, axis_of, floats

if TYPE_CHECKING:
    from torch.nn import Module


PADDED = ("input", "padding")
"""Names of the inputs of a reduction over positions."""


class Mean(Layer):
    """Mean along one axis or several, such as the tokens of a sequence or the positions of an image.

    Shapes: (T, D) -> (D,) for dim = 1; with `keepdim`, (1, D). A second input, `padding`, is of truth values
        on the axes of `dim`, or on all of the first axes, and true where a position is left out; of a sample that is
        all padding the result is 0.
    Cost: no MACs, as torch's counter has it.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats;
        a padding of other axes, or that is not of truth values.
    Source: Tolstikhin et al. 2021, arXiv:2105.01601, section 2. torch: none; it is torch.mean.
    """

    kind: ClassVar[str] = "mean"
    dim: Axes = Field(description="axis that is averaged, or a list of them; the batch is axis 0")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2)
    input_names: ClassVar[tuple[str, ...]] = PADDED
    hiding: ClassVar[Mapping[str, bool]] = {"padding": True}
    example: ClassVar[Example] = Example({"dim": 1}, [(49, 96)], shape=(96,))

    def plan(self, *xs: Shape) -> Plan:
        return _masked(xs, self.dim, self.keepdim, "mean")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import Mean as Built

        return Built(*_built(xs, self.dim, self.keepdim, "mean"))


class Sum(Layer):
    """Sum along one axis or several.

    Shapes: (T, D) -> (D,) for dim = 1; with `keepdim`, (1, D). A second input, `padding`, is of truth values
        on the axes of `dim`, or on all of the first axes, and true where a position is left out; of a sample that is
        all padding the result is 0.
    Cost: no MACs; additions are not counted.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats;
        a padding of other axes, or that is not of truth values.
    Source: Zaheer et al. 2017, arXiv:1703.06114, theorem 2 (functions of a set). torch: none; it is torch.sum.
    """

    kind: ClassVar[str] = "sum"
    dim: Axes = Field(description="axis that is summed, or a list of them; the batch is axis 0")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2)
    input_names: ClassVar[tuple[str, ...]] = PADDED
    hiding: ClassVar[Mapping[str, bool]] = {"padding": True}
    example: ClassVar[Example] = Example({"dim": 1}, [(49, 96)], shape=(96,))

    def plan(self, *xs: Shape) -> Plan:
        return _masked(xs, self.dim, self.keepdim, "sum")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import Sum as Built

        return Built(*_built(xs, self.dim, self.keepdim, "sum"))


class Max(Layer):
    """Maximum along one axis or several.

    Shapes: (T, D) -> (D,) for dim = 1; with `keepdim`, (1, D). A second input, `padding`, is of truth values
        on the axes of `dim`, or on all of the first axes, and true where a position is left out; of a sample that is
        all padding the result is 0.
    Cost: no MACs, as torch's counter has it.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats;
        a padding of other axes, or that is not of truth values.
    Source: Collobert et al. 2011, JMLR 12, section 3.3.2 (max over time). torch: none; it is torch.amax.
    """

    kind: ClassVar[str] = "max"
    dim: Axes = Field(description="axis whose largest value is kept, or a list of them; the batch is axis 0")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2)
    input_names: ClassVar[tuple[str, ...]] = PADDED
    hiding: ClassVar[Mapping[str, bool]] = {"padding": True}
    example: ClassVar[Example] = Example({"dim": [2, 3], "keepdim": True}, [(8, 5, 5)], shape=(8, 1, 1))

    def plan(self, *xs: Shape) -> Plan:
        return _masked(xs, self.dim, self.keepdim, "max")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import Max as Built

        return Built(*_built(xs, self.dim, self.keepdim, "max"))


class VectorNorm(Layer):
    """Length of the vectors along one axis or several: (sum of |x|^ord)^(1 / ord), for ord = 2 the L2 norm.

    `normalize` divides by it.

    Shapes: (T, D) -> (T,) for dim = 2; with `keepdim`, (T, 1).
    Cost: no MACs, as torch's counter has it.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Sabour et al. 2017, arXiv:1710.09829, section 2 (the length of a capsule). torch: none; it is
        torch.linalg.vector_norm, of all axes where `dim` is left out.
    """

    kind: ClassVar[str] = "vector_norm"
    dim: Axes = Field(description="axis along which a vector lies, or a list of them; the batch is axis 0")
    ord: float = Field(2.0, ge=1, description="1 sums absolute values, 2 is Euclid's length")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    example: ClassVar[Example] = Example({"dim": 2}, [(10, 16)], shape=(10,))

    def plan(self, *xs: Shape) -> Plan:
        return _reduced(xs[0], self.dim, self.keepdim, "vector_norm")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import VectorNorm as Built

        return Built([axis + 1 for axis in _axes(xs[0], self.dim, "vector_norm")], self.keepdim, self.ord)


def _axes(x: Shape, dims: list[int], kind: str) -> tuple[int, ...]:
    axes = tuple(axis_of(x, dim, kind) for dim in dims)
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{kind} has dim = {dims}, which names an axis of {{0}} twice", "Name it once.", [x])
    return axes


def _reduced(x: Shape, dims: list[int], keepdim: bool, kind: str) -> Plan:
    """Return the plan of a reduction over `dims`."""
    floats(x, kind)
    axes = _axes(x, dims, kind)
    if len(axes) == len(x) and not keepdim:
        hint = "Add `keepdim: true`, which leaves an axis of one value."
        raise ShapeError(f"{kind} over dim = {dims} leaves no axis of {{0}}", hint, [x])
    shape = [1 if axis in axes else n for axis, n in enumerate(x) if keepdim or axis not in axes]
    window = AxisMap(tuple(None if axis in axes else axis for axis in range(len(x)) if keepdim or axis not in axes))
    return Plan(shape=Shape(shape), window=window, saved=() if kind in {"mean", "sum"} else ("inputs", "output"))


def _masked(xs: Sequence[Shape], dims: list[int], keepdim: bool, kind: str) -> Plan:
    """Return the plan of a reduction that may leave out positions, of its input and their `padding`."""
    plan = _reduced(xs[0], dims, keepdim, kind)
    if len(xs) == 1:
        return plan
    axes, of_padding = _axes(xs[0], dims, kind), _padded_axes(xs, dims, kind)
    left = [n for axis, n in zip(of_padding, xs[1], strict=True) if axis not in axes]
    rows = prod(left)  # a count for each, and whether there is any
    more = {"mean": 8 * rows, "sum": 0, "max": xs[0].bytes + plan.shape.bytes + rows}[kind]
    window = InputPaths(((0, plan.window),))
    return replace(
        plan, window=window, no_gradient=(1,), saved=(), saved_bytes=more, saved_if=(SavedIf((0,), input=1),)
    )


def _padded_axes(xs: Sequence[Shape], dims: list[int], kind: str) -> tuple[int, ...]:
    """Return the axes of the input that its padding has. ShapeError where it has others."""
    x, padding = xs
    axes = _axes(x, dims, kind)
    first = tuple(range(len(padding)))
    if padding.dtype == "bool":
        if tuple(padding) == tuple(x[axis] for axis in axes):
            return axes
        if set(axes) <= set(first) and tuple(padding) == tuple(x[: len(padding)]):
            return first
    wants = Shape(tuple(x[axis] for axis in axes))
    raise ShapeError(
        f"the padding of {kind} over dim = {dims}, {{1}} of dtype {padding.dtype}, has no truth value for each "
        "position of {0}",
        hint=f"It is `{{shape: {list(wants)}, dtype: bool}}`, true where a position is left out.",
        inputs=xs,
    )


def _built(xs: Sequence[Shape], dims: list[int], keepdim: bool, kind: str) -> tuple[list[int], bool, list[int]]:
    """Return the arguments of the module: axes with the batch as 0."""
    padded = _padded_axes(xs, dims, kind) if len(xs) > 1 else ()
    return [axis + 1 for axis in _axes(xs[0], dims, kind)], keepdim, [axis + 1 for axis in padded]
