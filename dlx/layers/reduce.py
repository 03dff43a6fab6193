"""Reductions along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..shapes import Shape
from .base import Axes, AxisMap, Example, Layer, Plan, axis_of, floats

if TYPE_CHECKING:
    from torch.nn import Module


class Mean(Layer):
    """Mean along one axis or several, such as the tokens of a sequence or the positions of an image.

    Shapes: (T, D) -> (D,) for dim = 1; with `keepdim`, (1, D).
    Cost: no MACs, as torch's counter has it.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Tolstikhin et al. 2021, arXiv:2105.01601, section 2. torch: none; it is torch.mean.
    """

    kind: ClassVar[str] = "mean"
    dim: Axes = Field(description="axis that is averaged, or a list of them; the batch is axis 0")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    example: ClassVar[Example] = Example({"dim": 1}, [(49, 96)], shape=(96,))

    def plan(self, *xs: Shape) -> Plan:
        return _reduced(xs[0], self.dim, self.keepdim, "mean")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import Mean as Built

        return Built([axis + 1 for axis in _axes(xs[0], self.dim, "mean")], self.keepdim)


class Sum(Layer):
    """Sum along one axis or several.

    Shapes: (T, D) -> (D,) for dim = 1; with `keepdim`, (1, D).
    Cost: no MACs; additions are not counted.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Zaheer et al. 2017, arXiv:1703.06114, theorem 2 (functions of a set). torch: none; it is torch.sum.
    """

    kind: ClassVar[str] = "sum"
    dim: Axes = Field(description="axis that is summed, or a list of them; the batch is axis 0")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    example: ClassVar[Example] = Example({"dim": 1}, [(49, 96)], shape=(96,))

    def plan(self, *xs: Shape) -> Plan:
        return _reduced(xs[0], self.dim, self.keepdim, "sum")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import Sum as Built

        return Built([axis + 1 for axis in _axes(xs[0], self.dim, "sum")], self.keepdim)


class Max(Layer):
    """Maximum along one axis or several.

    Shapes: (T, D) -> (D,) for dim = 1; with `keepdim`, (1, D).
    Cost: no MACs, as torch's counter has it.
    Errors: an axis named twice; no axis left; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Collobert et al. 2011, JMLR 12, section 3.3.2 (max over time). torch: none; it is torch.amax.
    """

    kind: ClassVar[str] = "max"
    dim: Axes = Field(description="axis whose largest value is kept, or a list of them; the batch is axis 0")
    keepdim: bool = Field(False, description="leave an axis of one value in its place")

    example: ClassVar[Example] = Example({"dim": [2, 3], "keepdim": True}, [(8, 5, 5)], shape=(8, 1, 1))

    def plan(self, *xs: Shape) -> Plan:
        return _reduced(xs[0], self.dim, self.keepdim, "max")

    def module(self, *xs: Shape) -> Module:
        from ..modules.reduce import Max as Built

        return Built([axis + 1 for axis in _axes(xs[0], self.dim, "max")], self.keepdim)


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
