"""Merging of several inputs into one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..errors import ShapeError
from ..shapes import Shape, by_x
from .arithmetic import Line, figure, summed, unchanged
from .base import AxisConcat, Example, Layer, Plan, SavedIf, axis_of

if TYPE_CHECKING:
    from torch.nn import Module


class Add(Layer):
    """Add the inputs elementwise, as a residual connection does.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the others.
    Cost: no MACs; additions are not counted.
    Errors: inputs that differ in rank, channels, size or dtype.
    Source: He et al. 2015, arXiv:1512.03385, section 3.2. torch: none; it is x + y.
    """

    kind: ClassVar[str] = "add"

    arity: ClassVar[int | None] = None
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        return Plan(shape=broadcast_shape("add", xs), saved=(), passes_gradient=True)

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Add as Built

        return Built()


class Multiply(Layer):
    """Multiply the inputs elementwise, as a gate does.

    Shapes: (C, *size) from each -> (C, *size); an axis of one input that has a single position, or a single channel,
        stretches to fit the others: (C, 1, 1) scales the channels of (C, H, W).
    Cost: no MACs; torch's counter counts those of matrix products alone.
    Errors: inputs that differ in rank, channels, size or dtype.
    Source: Hu et al. 2017, arXiv:1709.01507, section 3.2. torch: none; it is x * y.
    """

    kind: ClassVar[str] = "multiply"

    arity: ClassVar[int | None] = None
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 1, 1)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        shape = broadcast_shape("multiply", xs)
        factors = [SavedIf((1,), input=0), *(SavedIf(tuple(range(i)), input=i) for i in range(1, len(xs)))]
        between = [SavedIf((n,), more=broadcast_shape("multiply", xs[:n]).bytes) for n in range(2, len(xs))]
        return Plan(shape=shape, saved=(), saved_if=(*factors, *between))

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Multiply as Built

        return Built()


class Concat(Layer):
    """Concatenate the inputs along one axis, as U-Net and DenseNet do.

    Shapes: (C_i, *size) from each -> (sum of C_i, *size). `dim` is counted as torch does, with the batch as axis 0;
        torch's default is 0, here it is 1. With `crop: center` the sizes may differ: each input keeps its middle, as
        large as the smallest, from position (n - smallest) // 2 on.
    Cost: no MACs; the values are copied.
    Errors: inputs that differ in rank, dtype, or on any axis but `dim`; a `dim` that is the batch or no axis.
    Source: Ronneberger et al. 2015, arXiv:1505.04597, section 2. torch: none; it is cat.
    """

    kind: ClassVar[str] = "concat"
    dim: int = Field(1, description="axis along which the inputs are joined; the batch is axis 0")
    crop: Literal["center"] | None = Field(None, description="cut larger inputs to the middle that fits the smallest")

    arity: ClassVar[int | None] = None
    example: ClassVar[Example] = Example({"crop": "center"}, [(8, 5, 5), (4, 8, 9)], shape=(12, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        _check_kinship("concat", xs)
        axis = axis_of(xs[0], self.dim, "concat", xs)
        cropped = set(range(1, len(xs[0]))) - {axis} if self.crop else set()
        for j, x in enumerate(xs):
            differing = {k for k, (a, b) in enumerate(zip(xs[0], x, strict=True)) if a != b} - cropped - {axis}
            if differing:
                raise _refusal("concat", xs, (0, j), differing, "" if self.crop else ", or add `crop: center`")
        shape = [sum(ns) if k == axis else min(ns) for k, ns in enumerate(zip(*xs, strict=True))]
        crops = tuple(tuple((x[k] - shape[k]) // 2 if k in cropped else 0 for k in range(1, len(x))) for x in xs)
        return Plan(
            Shape(shape, xs[0].dtype),
            window=AxisConcat(axis),
            crops=crops if self.crop else (),
            saved=(),
            passes_gradient=True,
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        axis = axis_of(xs[0], self.dim, "concat", xs)
        lengths = list(zip(*xs, strict=True))
        end_to_end = Line("", "the sum of the inputs", summed(lengths[axis]), sum(lengths[axis]), axes=(axis,))
        others = [k for k in range(len(xs[0])) if k != axis]
        cropped = [k for k in others if len(set(lengths[k])) > 1]
        note = "Each input keeps its middle, which begins at (size - smallest) / 2, rounded down."
        smallest = [
            Line("", "the smallest", f"min({', '.join(map(figure, lengths[k]))})", min(lengths[k]), note, axes=(k,))
            for k in cropped
        ]
        return [end_to_end, *unchanged(xs[0], [k for k in others if k not in cropped]), *smallest]

    def module(self, *_: Shape) -> Module:
        from ..modules.merge import Concat as Built

        return Built(self.dim, self.crop is not None)


def broadcast_shape(kind: str, xs: tuple[Shape, ...]) -> Shape:
    """Return the shape to which the inputs broadcast: an axis of length 1 fits any other. ShapeError where they
    do not.
    """
    _check_kinship(kind, xs)
    sizes = [max(ns) for ns in zip(*xs, strict=True)]
    largest = [next(i for i, x in enumerate(xs) if x[k] == n) for k, n in enumerate(sizes)]
    for j, x in enumerate(xs):
        differing = {k for k, n in enumerate(sizes) if x[k] not in (n, 1)}
        if differing:
            i = largest[min(differing)]
            differing = {k for k, (a, b) in enumerate(zip(xs[i], x, strict=True)) if a != b and 1 not in (a, b)}
            raise _refusal(kind, xs, (min(i, j), max(i, j)), differing)
    return Shape(sizes, xs[0].dtype)


def _check_kinship(kind: str, xs: tuple[Shape, ...]) -> None:
    """Raise a ShapeError where inputs differ in dtype or number of axes."""
    for i, x in enumerate(xs[1:], start=1):
        if x.dtype != xs[0].dtype:
            raise ShapeError(
                f"{kind} joins {{0}} with {{{i}}}: dtypes {xs[0].dtype} and {x.dtype} differ",
                hint="Embed integers, or turn them into floats, before they meet floats.",
                inputs=xs,
            )
        if len(x) != len(xs[0]):
            raise ShapeError(
                f"{kind} joins {{0}} with {{{i}}}: {len(xs[0])} and {len(x)} axes do not match",
                hint="`- reshape` gives one the axes of the other, as in [64, 1, 1] beside [64, 8, 8].",
                inputs=xs,
            )


def _refusal(
    kind: str, xs: tuple[Shape, ...], pair: tuple[int, int], differing: set[int], way_out: str = ""
) -> ShapeError:
    """Return the error of two inputs whose channels, or sizes, do not fit."""
    joins = f"{kind} joins {{{pair[0]}}} with {{{pair[1]}}}"
    a, b = xs[pair[0]], xs[pair[1]]
    if 0 not in differing:
        hint = f"{_resizing(a.size, b.size)}{way_out}."
        return ShapeError(f"{joins}: sizes {by_x(a.size)} and {by_x(b.size)} differ", hint, xs)
    if len(a) == 1:
        hint = f"`linear: {a[0]}` brings the second to {a[0]} features."
        return ShapeError(f"{joins}: features {a[0]} and {b[0]} differ", hint, xs)
    hint = f"`conv: {{out_channels: {a[0]}, kernel_size: 1}}` brings the second to {a[0]} channels."
    return ShapeError(f"{joins}: channels {a[0]} and {b[0]} differ", hint, xs)


def _resizing(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """Return a hint on how to make two sizes equal."""
    larger, smaller = max(a, b), min(a, b)
    ratios = {Fraction(n, m) for n, m in zip(larger, smaller, strict=True)}
    by = ratios.pop() if len(ratios) == 1 else Fraction(1, 2)
    resize = f"Upsample the smaller by {by}" if by.denominator == 1 else "Pad or pool one to the size of the other"
    return f"{resize}, or take a branch that is {by_x(larger)}"
