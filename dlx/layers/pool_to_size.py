"""Pooling to a given output size: adaptive and global."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..lazy import nn
from ..shapes import Shape, Window, per_axis
from .arithmetic import Line, line, unchanged
from .base import AxisMap, Example, Layer, Plan, WindowLike, by_rank, floats, positions

if TYPE_CHECKING:
    from torch.nn import Module

OutputSize = PositiveInt | list[PositiveInt | None]


class AdaptiveAvgPool(Layer):
    """Mean over windows that cover the input and are as many as `output_size` asks for.

    Window p covers the positions floor(p*n/o) to ceil((p + 1)*n/o) - 1 of n, where o is the output size. Where o does
    not divide n the windows differ by a position; the receptive field told is then that of the largest.

    Shapes: (C, *size) -> (C, *output_size); null in the list keeps the size of that axis.
    Cost: no MACs; additions are not counted.
    Errors: a list of another length than there are axes of positions; an input that is not of floats.
    Source: He et al. 2014, arXiv:1406.4729, section 2.2.
        torch: AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d.
    """

    kind: ClassVar[str] = "adaptive_avg_pool"
    output_size: OutputSize = Field(description="positions of the output on each axis")

    example: ClassVar[Example] = Example({"output_size": [3, 5]}, [(8, 12, 12)], shape=(8, 3, 5))

    def plan(self, *xs: Shape) -> Plan:
        pooled = _adaptive_plan(xs[0], self.output_size, "adaptive_avg_pool")
        return (
            replace(pooled, saved=()) if isinstance(pooled.window, AxisMap) else pooled
        )  # torch takes the mean then

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        return _adaptive_lines(xs[0], plan.shape)

    def module(self, *xs: Shape) -> Module:
        kinds = by_rank(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
        made: Module = kinds[len(xs[0]) - 1](_sizes(xs[0], self.output_size, "adaptive_avg_pool"))
        return made


class AdaptiveMaxPool(Layer):
    """Maximum over windows that cover the input and are as many as `output_size` asks for.

    Window p covers the positions floor(p*n/o) to ceil((p + 1)*n/o) - 1 of n, where o is the output size. Where o does
    not divide n the windows differ by a position; the receptive field told is then that of the largest.

    Shapes: (C, *size) -> (C, *output_size); null in the list keeps the size of that axis.
    Cost: no MACs; comparisons are not counted.
    Errors: a list of another length than there are axes of positions; an input that is not of floats.
    Source: He et al. 2014, arXiv:1406.4729, section 2.2.
        torch: AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d.
    """

    kind: ClassVar[str] = "adaptive_max_pool"
    output_size: OutputSize = Field(description="positions of the output on each axis")

    example: ClassVar[Example] = Example({"output_size": 4}, [(8, 12, 12)], shape=(8, 4, 4))

    def plan(self, *xs: Shape) -> Plan:
        pooled = _adaptive_plan(xs[0], self.output_size, "adaptive_max_pool")
        return replace(pooled, saved_bytes=8 * pooled.shape.count)  # the place of each maximum

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        return _adaptive_lines(xs[0], plan.shape)

    def module(self, *xs: Shape) -> Module:
        kinds = by_rank(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
        made: Module = kinds[len(xs[0]) - 1](_sizes(xs[0], self.output_size, "adaptive_max_pool"))
        return made


class GlobalAvgPool(Layer):
    """Mean of each channel over all positions.

    Shapes: (C, *size) -> (C,), or (C, 1, ...) with `keepdim`.
    Cost: no MACs; additions are not counted.
    Errors: a vector, which has no positions; an input that is not of floats.
    Source: Lin et al. 2013, arXiv:1312.4400, section 3.2. torch: none; it is a mean.
    """

    kind: ClassVar[str] = "global_avg_pool"
    keepdim: bool = Field(False, description="keep each axis of positions with one position")

    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8,))

    def plan(self, *xs: Shape) -> Plan:
        return replace(_global_plan(xs[0], self.keepdim, "global_avg_pool"), saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.pool import GlobalAvgPool as Built

        return Built(self.keepdim)


class GlobalMaxPool(Layer):
    """Maximum of each channel over all positions.

    Shapes: (C, *size) -> (C,), or (C, 1, ...) with `keepdim`.
    Cost: no MACs; comparisons are not counted.
    Errors: a vector, which has no positions; an input that is not of floats.
    Source: Oquab et al. 2015, "Is object localization for free?", section 3. torch: none; it is a maximum.
    """

    kind: ClassVar[str] = "global_max_pool"
    keepdim: bool = Field(False, description="keep each axis of positions with one position")

    example: ClassVar[Example] = Example({"keepdim": True}, [(8, 5, 5)], shape=(8, 1, 1))

    def plan(self, *xs: Shape) -> Plan:
        return replace(_global_plan(xs[0], self.keepdim, "global_max_pool"), saved=("inputs", "output"))

    def module(self, *_: Shape) -> Module:
        from ..modules.pool import GlobalMaxPool as Built

        return Built(self.keepdim)


def _global_plan(x: Shape, keepdim: bool, kind: str) -> Plan:
    floats(x, kind)
    size = positions(x, kind)
    left = len(size) if keepdim else 0
    return Plan(shape=Shape((x.channels, *(1,) * left)), window=AxisMap((0, *(None,) * left)))


def _adaptive_plan(x: Shape, output_size: OutputSize, kind: str) -> Plan:
    floats(x, kind)
    outs = _sizes(x, output_size, kind)
    window: WindowLike = AxisMap((0, *(None for _ in outs))) if set(outs) == {1} else _largest_windows(x.size, outs)
    return Plan(shape=Shape((x.channels, *outs)), window=window, by_channel=True)


def _adaptive_lines(x: Shape, shape: Shape) -> list[Line]:
    """Return the lines of the output size and of the window positions."""
    lines = unchanged(x, [0])
    for axis, (n, o) in enumerate(zip(x.size, shape.size, strict=True), start=1):
        note = f"Window p covers the positions floor(p * {n} / {o}) to ceil((p + 1) * {n} / {o}) - 1, from p = 0 on."
        lines.append(line("output_size", {"output_size": o}, axes=axis, note=note))
    return lines


def _sizes(x: Shape, output_size: OutputSize, kind: str) -> tuple[int, ...]:
    """Return the output size on each axis of positions."""
    size = positions(x, kind)
    if isinstance(output_size, int):
        return (output_size,) * len(size)
    wanted = per_axis(output_size, len(size), "output_size")
    return tuple(n if o is None else o for o, n in zip(wanted, size, strict=True))


def _largest_windows(size: tuple[int, ...], outs: tuple[int, ...]) -> Window:
    """Return windows of the largest width on each axis, with a stride of n/o."""
    paces = [Fraction(n, o) for n, o in zip(size, outs, strict=True)]
    widest = tuple((pace.numerator + 2 * pace.denominator - 2) // pace.denominator for pace in paces)
    zeros, ones = (0,) * len(size), (1,) * len(size)
    stride = tuple(pace.numerator if pace.denominator == 1 else pace for pace in paces)
    return Window(widest, stride, zeros, zeros, ones)
