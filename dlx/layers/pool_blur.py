"""Anti-aliased pooling."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, Window, by_x
from .base import Example, Extent, Layer, Margin, Plan, positions, window_warnings
from .pool import pooled_plan

if TYPE_CHECKING:
    from torch.nn import Module


class MaxBlurPool(Layer):
    """Maximum over a window at every position, then a blur with a stride.

    A max pool with a stride changes its output when the input moves by a position; the blur softens that. Its weights
    are the binomial coefficients, [1, 2, 1] / 4 for `blur_size` 3, on each axis; beyond the edge it mirrors the
    values. The receptive field counts a mirrored position where it stands, outside the input.

    Shapes: (C, *size) -> (C, *size') with size' = (size + 2*padding - kernel_size) // stride + 1 on each axis.
    Cost: one MAC per weight of the blur, channel and output position; comparisons are not counted.
    Errors: a padding above half the kernel; a window larger than the padded input; a blur that mirrors more positions
        than there are; an input that is not of floats.
    Source: Zhang 2019, arXiv:1904.11486, section 3.3; Prince 2023, Understanding Deep Learning, notes of chapter 10.
        torch: none.
    """

    kind: ClassVar[str] = "max_blur_pool"
    kernel_size: Extent = Field(description="taps of the maximum on each axis")
    stride: Extent | None = Field(
        None, description="positions between two stops of the blur; the kernel size without"
    )
    padding: Margin = Field(0, description="positions added on each side for the maximum, which never win")
    blur_size: PositiveInt = Field(3, le=64, description="taps of the blur on each axis")

    example: ClassVar[Example] = Example(
        {"kernel_size": 2}, [(8, 11, 11)], shape=(8, 5, 5), macs=3 * 3 * 8 * 5 * 5, buffers=3 * 3
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        rank, taps = len(positions(x, "max_blur_pool")), self.blur_size
        maximum = Window.over(rank, self.kernel_size, 1, self.padding)
        largest = pooled_plan(x, maximum, "max_blur_pool").shape
        before = (taps - 1) // 2
        if any(taps // 2 > n - 1 for n in largest.size):
            raise ShapeError(
                f"a blur of {taps} mirrors {taps // 2} positions at the edge, and the maxima of {{0}} are "
                f"{by_x(largest.size)}",
                hint="Take a smaller `blur_size`.",
                inputs=[x],
            )
        stride = self.kernel_size if self.stride is None else self.stride
        window = Window.over(rank, [k + taps - 1 for k in maximum.kernel], stride)
        window = replace(
            window,
            before=tuple(p + before for p in maximum.before),
            after=tuple(p + taps - 1 - before for p in maximum.after),
        )
        stops, blurred = window.slide(x.size), prod(largest.size[i] + taps - 1 for i in range(rank))
        return Plan(
            shape=Shape((x.channels, *stops)),
            buffers={"blur": (1, 1, *(taps,) * rank)},
            macs=x.channels * taps**rank * prod(stops),
            window=window,
            by_channel=True,
            saved_bytes=8 * largest.count + largest.bytes + 4 * x.channels * blurred,
            warnings=window_warnings(window, x.size),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.pool import MaxBlurPool as Built

        rank = len(xs[0].size)
        maximum = Window.over(rank, self.kernel_size, 1, self.padding)
        window = Window.over(rank, 1, self.kernel_size if self.stride is None else self.stride)
        return Built(maximum.kernel, tuple(map(int, window.stride)), maximum.before, self.blur_size)
