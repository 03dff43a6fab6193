"""Convolutions of any rank."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape, Window, by_x
from .base import Example, Extent, Layer, Margin, Plan, by_rank, floats, positions, unseen_warning

if TYPE_CHECKING:
    from torch.nn import Module


class Conv(Layer):
    """Slide `out_channels` learned filters over a signal, an image or a volume.

    Shapes: (C, *size) -> (out_channels, *size') with
        size' = (size + 2*padding - dilation*(kernel_size - 1) - 1) // stride + 1 on each axis.
    Cost: one MAC per weight and output position; adding the bias is not counted.
    Errors: C or out_channels not a multiple of `groups`; a kernel larger than the padded input; padding "same" with a
        stride above 1; reflected padding as wide as the input; an input that is not of floats.
    Source: Dumoulin & Visin 2016, arXiv:1603.07285, section 2.4. torch: Conv1d, Conv2d, Conv3d.
    """

    kind: ClassVar[str] = "conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin | Literal["same", "valid"] = Field(0, description="positions added on each side")
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
        for name, channels in (("input", x.channels), ("output", self.out_channels)):
            if channels % self.groups:
                raise ShapeError(
                    f"{channels} {name} channels do not split into groups = {self.groups}",
                    hint=f"Pick a divisor of {channels}, or drop `groups`.",
                )
        window = Window.over(len(size), self.kernel_size, self.stride, self.padding, self.dilation)
        self._check_padding(window, size)
        stops = window.slide(size)
        weight = (self.out_channels, x.channels // self.groups, *window.kernel)
        return Plan(
            shape=Shape((self.out_channels, *stops)),
            weights={"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {}),
            macs=prod(weight) * prod(stops),
            window=window,
            warnings=unseen_warning(window, size),
        )

    def _check_padding(self, window: Window, size: tuple[int, ...]) -> None:
        if self.padding == "same" and any(s != 1 for s in window.stride):
            raise ShapeError(
                f'padding "same" keeps the size, stride {by_x(window.stride)} shrinks it',
                hint=f"Give the padding in numbers: {by_x(window.before)} for this kernel.",
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
        kinds = by_rank(nn.Conv1d, nn.Conv2d, nn.Conv3d)
        made: Module = kinds[len(xs[0]) - 1](xs[0].channels, **self.options())
        return made
