"""Pooling over sliding windows, of any rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape, Window, by_x
from .base import Example, Extent, Layer, Margin, Plan, by_rank, floats, positions, window_warnings

if TYPE_CHECKING:
    from torch.nn import Module


class MaxPool(Layer):
    """Maximum over a window that slides over each channel.

    Shapes: (C, *size) -> (C, *size') with
        size' = (size + 2*padding - dilation*(kernel_size - 1) - 1) // stride + 1 on each axis, rounded up instead of
        down with `ceil_mode`, as long as the last window begins inside the input or its left padding.
    Cost: no MACs; comparisons are not counted.
    Errors: a padding above half the kernel; a window larger than the padded input, or whose taps, with a dilation,
        step over all of it (torch then writes outside its memory); an input that is not of floats.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 3. torch: MaxPool1d, MaxPool2d, MaxPool3d.
    """

    kind: ClassVar[str] = "max_pool"
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent | None = Field(None, description="positions between two stops; the kernel size without")
    padding: Margin = Field(0, description="positions added on each side, which never win")
    dilation: Extent = Field(1, description="positions between two taps")
    ceil_mode: bool = Field(False, description="let the last window reach over the end")

    example: ClassVar[Example] = Example(
        {"kernel_size": 3, "stride": 2, "padding": 1}, [(8, 11, 11)], shape=(8, 6, 6)
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        rank = len(positions(x, "max_pool"))
        stride = self.stride if self.stride is not None else self.kernel_size
        window = Window.over(rank, self.kernel_size, stride, self.padding, self.dilation, self.ceil_mode)
        pooled = pooled_plan(x, window, "max_pool")
        return replace(pooled, saved_bytes=8 * pooled.shape.count)  # the place of each maximum

    def module(self, *xs: Shape) -> Module:
        from ..modules import pool as built

        kinds = by_rank(built.MaxPool1d, built.MaxPool2d, built.MaxPool3d)
        made: Module = kinds[len(xs[0]) - 1](**self.options())
        return made


class AvgPool(Layer):
    """Mean over a window that slides over each channel.

    Shapes: (C, *size) -> (C, *size') with size' = (size + 2*padding - kernel_size) // stride + 1 on each axis,
        rounded up instead of down with `ceil_mode`, as long as the last window begins in the input or its padding.
    Cost: no MACs; additions are not counted.
    Errors: a padding above half the kernel; a window larger than the padded input, and for volumes larger than the
        input itself, as torch has it; an input that is not of floats.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 3. torch: AvgPool1d, AvgPool2d, AvgPool3d.
    """

    kind: ClassVar[str] = "avg_pool"
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent | None = Field(None, description="positions between two stops; the kernel size without")
    padding: Margin = Field(0, description="zeros added on each side")
    ceil_mode: bool = Field(False, description="let the last window reach over the end")
    count_include_pad: bool = Field(True, description="whether the zeros of the padding count in the average")

    example: ClassVar[Example] = Example({"kernel_size": 2}, [(8, 12, 12)], shape=(8, 6, 6))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        rank = len(positions(x, "avg_pool"))
        stride = self.stride if self.stride is not None else self.kernel_size
        window = Window.over(rank, self.kernel_size, stride, self.padding, ceil_mode=self.ceil_mode)
        _check_volume(x, window, "avg_pool")
        return pooled_plan(x, window, "avg_pool")

    def module(self, *xs: Shape) -> Module:
        from ..modules.pool import AvgPool2d

        kinds = by_rank(nn.AvgPool1d, AvgPool2d, nn.AvgPool3d)
        made: Module = kinds[len(xs[0]) - 1](**self.options())
        return made


class LPPool(Layer):
    """p-norm over a window that slides over each channel, where p is `norm_type`.

    Norm 1 is the sum, norm 2 the root of the sum of squares (L2 pooling); the larger p, the nearer to the maximum.
    torch takes no absolute values: with an odd p a window whose sum of powers is negative gives NaN.

    Shapes: (C, *size) -> (C, *size') with size' = (size - kernel_size) // stride + 1 on each axis, rounded up instead
        of down with `ceil_mode`, as long as the last window begins inside the input.
    Cost: no MACs; powers and additions are not counted.
    Errors: a window larger than the input; an input that is not of floats.
    Source: Sermanet et al. 2012, arXiv:1204.3968. torch: LPPool1d, LPPool2d, LPPool3d.
    """

    kind: ClassVar[str] = "lp_pool"
    norm_type: float = Field(ge=0.01, le=100, description="the power p of the p-norm")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent | None = Field(None, description="positions between two stops; the kernel size without")
    ceil_mode: bool = Field(False, description="let the last window reach over the end")

    example: ClassVar[Example] = Example(
        {"norm_type": 2, "kernel_size": 3, "stride": 2}, [(8, 11, 11)], shape=(8, 5, 5)
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        rank = len(positions(x, "lp_pool"))
        stride = self.stride if self.stride is not None else self.kernel_size
        window = Window.over(rank, self.kernel_size, stride, ceil_mode=self.ceil_mode)
        _check_volume(x, window, "lp_pool")
        pooled = pooled_plan(x, window, "lp_pool")
        return replace(pooled, saved_bytes=x.bytes + 4 * pooled.shape.bytes)  # powers, and four steps to the root

    def module(self, *xs: Shape) -> Module:
        kinds = by_rank(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d)
        options = self.options()
        if xs[0].rank == 2:  # torch's LPPool1d takes no tuples
            options |= {name: value[0] for name, value in options.items() if isinstance(value, tuple)}
        made: Module = kinds[len(xs[0]) - 1](**options)
        return made


def pooled_plan(x: Shape, window: Window, kind: str) -> Plan:
    """Return the plan of a pool. ShapeError where a window can lie on padding alone."""
    floats(x, kind)
    if any(2 * before > k for before, k in zip(window.before, window.kernel, strict=True)):
        raise ShapeError(
            f"{kind} has padding {by_x(window.before)}, more than half of its kernel of {by_x(window.kernel)}",
            hint="A window must not stand on padding alone: pad at most half the kernel.",
        )
    stops = window.slide(x.size)
    if _steps_over(window, x.size, stops):
        raise ShapeError(
            f"{kind} has taps {by_x(window.dilation)} positions apart, which step over the whole of {{0}} where the "
            f"window stands in the padding of {by_x(window.before)}",
            hint="Take a smaller dilation, or no padding.",
            inputs=[x],
        )
    return Plan(
        shape=Shape((x.channels, *stops)), window=window, by_channel=True, warnings=window_warnings(window, x.size)
    )


def _steps_over(window: Window, size: Sequence[int], stops: Sequence[int]) -> bool:
    """Whether a window that starts before the input has no tap inside it."""
    axes = zip(size, stops, window.stride, window.before, window.dilation, strict=True)
    return any(
        (p * stride - before) % dilation >= n
        for n, stop, stride, before, dilation in axes
        if dilation > n
        for p in range(min(stop, ceil(before / stride)))
    )


def _check_volume(x: Shape, window: Window, kind: str) -> None:
    """Raise a ShapeError where the kernel exceeds the unpadded input, which torch's average pools of volumes
    refuse.
    """
    if len(x) == 4 and any(k > n for k, n in zip(window.kernel, x.size, strict=True)):
        raise ShapeError(
            f"{kind} has a kernel of {by_x(window.kernel)}, larger than {{0}}; torch counts no padding here",
            hint="Take a smaller kernel.",
            inputs=[x],
        )
