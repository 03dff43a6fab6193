"""Convolutions and transposed convolutions of any rank."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape, Window, by_x, per_axis
from .arithmetic import Line, line, sliding
from .base import Example, Extent, Layer, Margin, Plan, Saved, by_rank, floats, positions, window_warnings

if TYPE_CHECKING:
    from torch.nn import Module


class Conv(Layer):
    """Slide `out_channels` learned filters over a signal, an image or a volume.

    With padding "causal", of one axis of positions, dilation*(kernel_size - 1) added positions come first and none
    last, so that an output sees no position behind its own.

    Shapes: (C, *size) -> (out_channels, *size') with
        size' = (size + 2*padding - dilation*(kernel_size - 1) - 1) // stride + 1 on each axis.
    Cost: one MAC per weight and output position; adding the bias is not counted.
    Errors: C or out_channels not a multiple of `groups`; a kernel larger than the padded input; padding "same" with a
        stride above 1, or "causal" with several axes; reflected padding as wide as the input; an input that is not of
        floats.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, section 2.4; for "causal" arXiv:1609.03499, section 2.1.
        torch: Conv1d, Conv2d, Conv3d.
    """

    kind: ClassVar[str] = "conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin | Literal["same", "valid", "causal"] = Field(0, description="positions added on each side")
    dilation: Extent = Field(1, description="positions between two taps")
    groups: PositiveInt = Field(1, description="channel groups that do not see each other")
    bias: bool = Field(True, description="add a learned value to each output channel")
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = Field(
        "zeros", description="what the added positions hold"
    )

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 16, "kernel_size": 3, "padding": 1},
        [(3, 32, 32)],
        shape=(16, 32, 32),
        params=16 * (3 * 3 * 3 + 1),
        macs=16 * 3 * 3 * 3 * 32 * 32,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "conv")
        size = positions(x, "conv")
        check_groups(self.groups, x.channels, self.out_channels)
        window = Window.over(len(size), self.kernel_size, self.stride, self.padding, self.dilation)
        self._check_padding(window, size)
        stops = window.slide(size)
        weight = (self.out_channels, x.channels // self.groups, *window.kernel)
        saved, padded = self._saved(x, window)
        return Plan(
            shape=Shape((self.out_channels, *stops)),
            weights={"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {}),
            macs=prod(weight) * prod(stops),
            window=window,
            by_channel=self.groups == x.channels == self.out_channels,
            saved=saved,
            saved_bytes=padded,
            warnings=window_warnings(window, size, padded=self.padding_mode == "zeros"),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        assert isinstance(plan.window, Window)
        filters = line("out_channels", {"out_channels": self.out_channels}, axes=0)
        weight = weight_line(plan.window.kernel, xs[0].channels, self.out_channels, self.groups)
        return [filters, *sliding(plan.window, xs[0].size), weight, *bias_line(self.bias, self.out_channels)]

    def _saved(self, x: Shape, window: Window) -> tuple[Saved, int]:
        """Return what torch saves: the input, or the bytes of a padded copy where the kernel cannot pad itself."""
        # A kernel pads with zeros on the fly, equally on both sides; for all else torch pads a copy, and saves that
        pairs = list(zip(x.size, window.before, window.after, strict=True))
        if self.padding_mode != "zeros":
            copy = Shape((x.channels, *(n + a + b for n, a, b in pairs)))
            return (() if self.padding_mode == "circular" else ("inputs",)), copy.bytes
        if window.before == window.after:
            return ("inputs",), 0
        if self.padding == "causal":
            return (), Shape((x.channels, x.size[0] + window.before[0])).bytes
        return (), Shape((x.channels, *(n + b - a for n, a, b in pairs))).bytes

    def _check_padding(self, window: Window, size: tuple[int, ...]) -> None:
        if self.padding == "same" and any(s != 1 for s in window.stride):
            raise ShapeError(
                f'padding "same" keeps the size, stride {by_x(window.stride)} shrinks it',
                hint=f"Give it in numbers, {by_x(window.before)} for this kernel, or put a `pad_same` before it.",
            )
        if self.padding == "causal" and len(size) > 1:
            raise ShapeError(
                f'padding "causal" is of one axis, before and after, and the input has {len(size)} of positions',
                hint="`- pad` adds positions on any side: `[left, right, top, bottom]`.",
            )
        if self.padding == "causal" and self.padding_mode in ("reflect", "circular"):
            raise ShapeError(
                f'padding "causal" lets no position see a later one, and padding_mode {self.padding_mode} takes its '
                "padded positions from later ones",
                hint='Use padding_mode "zeros" or "replicate".',
            )
        widest = [max(pair) for pair in zip(window.before, window.after, strict=True)]
        limit = {"reflect": -1, "circular": 0}.get(self.padding_mode)
        if limit is not None and any(p > n + limit for p, n in zip(widest, size, strict=True)):
            raise ShapeError(
                f"padding_mode {self.padding_mode} takes its {by_x(widest)} padded positions from an input of "
                f"{by_x(size)}, which is too small",
                hint='Pad less, or use padding_mode "zeros" or "replicate".',
            )

    def module(self, *xs: Shape) -> Module:
        if self.padding == "causal":
            from ..modules.conv import CausalConv

            return CausalConv(xs[0].channels, **self.options("padding"))
        kinds = by_rank(nn.Conv1d, nn.Conv2d, nn.Conv3d)
        made: Module = kinds[len(xs[0]) - 1](xs[0].channels, **self.options())
        return made


class ConvTranspose(Layer):
    """Add a learned pattern to the output for each position of the input, the patterns `stride` positions apart.

    It undoes the shape of the convolution with the same fields, and its matrix is the transpose of that one's.

    Shapes: (C, *size) -> (out_channels, *size') with
        size' = (size - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1 on each axis.
    Cost: one MAC per weight and input position; adding the bias is not counted.
    Errors: C or out_channels not a multiple of `groups`; an output_padding that is neither below the stride nor below
        the dilation; a padding that leaves no positions; an input that is not of floats.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, chapter 4; Prince 2023, Understanding Deep Learning, section
        10.4.2. torch: ConvTranspose1d, ConvTranspose2d, ConvTranspose3d.
    """

    kind: ClassVar[str] = "conv_transpose"
    out_channels: PositiveInt = Field(description="channels of the output")
    kernel_size: Extent = Field(description="positions of the pattern on each axis")
    stride: Extent = Field(1, description="output positions between the patterns of two input positions")
    padding: Margin = Field(0, description="output positions cut off on each side")
    output_padding: Margin = Field(0, description="positions added at the end of each axis of the output")
    groups: PositiveInt = Field(1, description="channel groups that do not see each other")
    bias: bool = Field(True, description="add a learned value to each output channel")
    dilation: Extent = Field(1, description="output positions between two values of the pattern")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        [(4, 5, 5)],
        shape=(6, 10, 10),
        params=4 * 6 * 3 * 3 + 6,
        macs=4 * 6 * 3 * 3 * 5 * 5,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "conv_transpose")
        size = positions(x, "conv_transpose")
        check_groups(self.groups, x.channels, self.out_channels)
        window = Window.over(len(size), self.kernel_size, self.stride, self.padding, self.dilation)
        weight = (x.channels, self.out_channels // self.groups, *window.kernel)
        return Plan(
            shape=Shape((self.out_channels, *self._grown(window, size))),
            weights={"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {}),
            macs=prod(weight) * prod(size),
            window=window.transposed,
            by_channel=self.groups == x.channels == self.out_channels,
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        names = ("kernel_size", "stride", "padding", "dilation", "output_padding")
        spreads = [per_axis(getattr(self, name), len(x.size), name) for name in names]
        grown = "(size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1"
        axes = [
            line(grown, dict(zip(("size", *names), each, strict=True)), axes=axis)
            for axis, each in enumerate(zip(x.size, *spreads, strict=True), start=1)
        ]
        weight = weight_line(spreads[0], x.channels, self.out_channels, self.groups)
        channels = line("out_channels", {"out_channels": self.out_channels}, axes=0)
        return [channels, *axes, weight, *bias_line(self.bias, self.out_channels)]

    def _grown(self, window: Window, size: tuple[int, ...]) -> tuple[int, ...]:
        more = per_axis(self.output_padding, len(size), "output_padding")
        strides, dilations = per_axis(self.stride, len(size), "stride"), window.dilation
        if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)):
            raise ShapeError(
                f"output_padding {by_x(more)} must be below the stride of {by_x(strides)}, or the dilation of "
                f"{by_x(dilations)}",
                hint="A stride of s leaves s - 1 positions at the end to choose from.",
            )
        axes = zip(size, strides, window.before, window.extent, more, strict=True)
        grown = tuple((n - 1) * s - 2 * p + extent + m for n, s, p, extent, m in axes)
        if min(grown) < 1:
            raise ShapeError(
                f"padding {by_x(window.before)} on both sides cuts off all that a kernel of {by_x(window.extent)} "
                f"makes of {by_x(size)} positions",
                hint="A transposed convolution cuts its padding off the output: pad less.",
            )
        return grown

    def module(self, *xs: Shape) -> Module:
        kinds = by_rank(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        made: Module = kinds[len(xs[0]) - 1](xs[0].channels, **self.options())
        return made


def check_groups(groups: int, incoming: int, outgoing: int) -> None:
    """Raise a ShapeError where input or output channels do not split into groups."""
    for name, channels in (("input", incoming), ("output", outgoing)):
        if channels % groups:
            raise ShapeError(
                f"{channels} {name} channels do not split into groups = {groups}",
                hint=f"Pick a divisor of {channels}, or drop `groups`.",
            )


def weight_line(kernel: Sequence[int], channels: int, out_channels: int, groups: int) -> Line:
    """Return the line of the weight: kernel size times input channels of a filter times filters."""
    formula = f"{' * '.join(['kernel'] * len(kernel))} * channels{' / groups' if groups > 1 else ''} * out_channels"
    values = {"kernel": kernel, "channels": channels, "groups": groups, "out_channels": out_channels}
    return line(formula, values, part="parameters", what="weight")


def bias_line(bias: bool, out_channels: int) -> list[Line]:
    """Return the line of the bias, where there is one."""
    one = Line("bias", "", f"{out_channels:,}", out_channels, "one for each output channel", "parameters")
    return [one] if bias else []
