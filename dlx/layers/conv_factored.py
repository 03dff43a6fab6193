"""Convolutions whose kernels are products of smaller ones: depthwise, pointwise, separable."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, Window, by_x
from .base import Example, Extent, Layer, Margin, Plan, floats, positions, window_warnings
from .conv import Conv

if TYPE_CHECKING:
    from torch.nn import Module


class DepthwiseConv(Layer):
    """Slide `multiplier` learned filters over each channel by itself.

    Followed by `pointwise_conv` it is the depthwise separable convolution of MobileNet.

    Shapes: (C, *size) -> (C * multiplier, *size'), size' as for `conv`. Channel c becomes `multiplier`
        channels beside each other.
    Cost: one MAC per weight and output position: K * K * C weights for an image and multiplier 1, and C biases.
    Errors: those of `conv`.
    Source: Howard et al. 2017, arXiv:1704.04861, section 3.1; Prince 2023, Understanding Deep Learning, notes of
        chapter 10. torch: none; it is Conv1d, Conv2d or Conv3d with groups = C.
    """

    kind: ClassVar[str] = "depthwise_conv"
    kernel_size: Extent = Field(description="taps on each axis")
    multiplier: PositiveInt = Field(1, description="filters, and so output channels, for each channel")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin | Literal["same", "valid", "causal"] = Field(0, description="positions added on each side")
    dilation: Extent = Field(1, description="positions between two taps")
    bias: bool = Field(True, description="add a learned value to each output channel")
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = Field(
        "zeros", description="what the added positions hold"
    )

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"kernel_size": 3, "stride": 2, "padding": 1},
        [(8, 11, 11)],
        shape=(8, 6, 6),
        params=3 * 3 * 8 + 8,
        macs=3 * 3 * 8 * 6 * 6,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "depthwise_conv")
        positions(x, "depthwise_conv")
        return self._conv(x).plan(x)

    def module(self, *xs: Shape) -> Module:
        return self._conv(xs[0]).module(*xs)

    def _conv(self, x: Shape) -> Conv:
        options = {name: getattr(self, name) for name in type(self).model_fields if name != "multiplier"}
        return Conv(out_channels=x.channels * self.multiplier, groups=x.channels, **options)


class PointwiseConv(Layer):
    """Mix the channels at each position by itself: a convolution with a kernel of one position.

    Shapes: (C, *size) -> (out_channels, *size'), size' = (size - 1) // stride + 1 on each axis.
    Cost: one MAC per weight and output position; adding the bias is not counted.
    Errors: C or out_channels not a multiple of `groups`; an input that is not of floats.
    Source: Lin et al. 2013, arXiv:1312.4400, section 3.1; Prince 2023, Understanding Deep Learning, section 10.4.3.
        torch: none; it is Conv1d, Conv2d or Conv3d with kernel_size = 1.
    """

    kind: ClassVar[str] = "pointwise_conv"
    out_channels: PositiveInt = Field(description="channels of the output")
    stride: Extent = Field(1, description="positions between two that are kept")
    groups: PositiveInt = Field(1, description="channel groups that do not see each other")
    bias: bool = Field(True, description="add a learned value to each output channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 16}, [(8, 5, 5)], shape=(16, 5, 5), params=16 * 8 + 16, macs=16 * 8 * 5 * 5
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "pointwise_conv")
        positions(x, "pointwise_conv")
        return self._conv().plan(x)

    def module(self, *xs: Shape) -> Module:
        return self._conv().module(*xs)

    def _conv(self) -> Conv:
        return Conv(
            out_channels=self.out_channels, kernel_size=1, stride=self.stride, groups=self.groups, bias=self.bias
        )


class SeparableConv(Layer):
    """Slide filters that are outer products: of weights across the channels, and of weights along each axis.

    Filter o of an image is w[o, c, i, j] = mix[o, c] * down[o, i] * across[o, j]: C + K + K weights, where a full one
    has C * K * K. It runs as the mix at each position, then each axis by itself; the bias is added at the end.
    MobileNet's depthwise separable convolution is another thing: `depthwise_conv`, then `pointwise_conv`.

    Shapes: (C, *size) -> (out_channels, *size'), size' as for `conv`.
    Cost: (C + K + K) * out_channels weights, so C * (C + 2 * K) where the channels stay as many; one MAC per weight
        and position that it is used at: the mix runs before the stride.
    Errors: a kernel larger than the padded input; padding "same" with a stride above 1; an input that is not of
        floats.
    Source: Prince 2023, Understanding Deep Learning, notes of chapter 10. torch: none; it is a chain of convolutions.
    """

    kind: ClassVar[str] = "separable_conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin | Literal["same", "valid"] = Field(0, description="positions of zeros added on each side")
    dilation: Extent = Field(1, description="positions between two taps")
    bias: bool = Field(True, description="add a learned value to each output channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 8, "kernel_size": 3, "stride": 2, "padding": 1},
        [(8, 10, 10)],
        shape=(8, 5, 5),
        params=8 * (8 + 2 * 3) + 8,
        macs=8 * 8 * 10 * 10 + 8 * 3 * 5 * 10 + 8 * 3 * 5 * 5,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "separable_conv")
        size = positions(x, "separable_conv")
        window = Window.over(len(size), self.kernel_size, self.stride, self.padding, self.dilation)
        if self.padding == "same" and any(s != 1 for s in window.stride):
            raise ShapeError(
                f'padding "same" keeps the size, stride {by_x(window.stride)} shrinks it',
                hint=f"Give it in numbers, {by_x(window.before)} for this kernel, or put a `pad_same` before it.",
            )
        stops, out = window.slide(size), self.out_channels
        weights: dict[str, tuple[int, ...]] = {"mix.weight": (out, x.channels, *(1 for _ in size))}
        macs, between = out * x.channels * prod(size), 0
        for axis, k in enumerate(window.kernel):
            weights[f"along.{axis}.weight"] = (out, 1, *(k if a == axis else 1 for a in range(len(size))))
            positions_done = prod(stops[: axis + 1]) * prod(size[axis + 1 :])
            macs += out * k * positions_done
            wider = window.after[axis] - window.before[axis]  # torch then pads a copy
            between += 4 * out * (positions_done + wider * prod(size) // size[axis])
        if self.bias:
            weights[f"along.{len(size) - 1}.bias"] = (out,)
        return Plan(
            shape=Shape((out, *stops)),
            weights=weights,
            macs=macs,
            window=window,
            saved_bytes=4 * out * prod(size) + between - 4 * out * prod(stops),
            warnings=window_warnings(window, size),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv import SeparableConv as Built

        window = Window.over(len(xs[0].size), self.kernel_size, self.stride, self.padding, self.dilation)
        strides = tuple(map(int, window.stride))
        return Built(
            xs[0].channels,
            self.out_channels,
            window.kernel,
            strides,
            self.padding if isinstance(self.padding, str) else window.before,
            window.dilation,
            self.bias,
        )
