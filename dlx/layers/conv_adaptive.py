"""Convolutions whose taps or whose filters depend on what comes in."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, Window
from .base import (
    AxisMap,
    Example,
    Extent,
    InputPaths,
    Layer,
    Margin,
    Plan,
    floats,
    positions,
    window_warnings,
)
from .conv import Conv, check_groups

if TYPE_CHECKING:
    from torch.nn import Module

FLOAT = 4


class DeformableConv(Layer):
    """Convolve an image at taps that are moved by learned offsets, and weighed, at each position on their own.

    A second convolution, whose weights begin at zero, computes two offsets for each tap, in positions (down, right),
    and where it is `modulated` a weight, sigmoid of its third value. A moved tap reads by bilinear interpolation,
    and 0 outside. So it begins as `conv` does, with half its values where it is modulated.

    Shapes: (C, H, W) -> (out_channels, H', W'), as for `conv`.
    Cost: that of `conv`, and of one to K * (3 or 2) * deformable_groups channels, with K the taps of the kernel;
        interpolation is not counted. The receptive field is all of the image, for an offset has no bound.
    Errors: those of `conv`; an input that is no image; C not a multiple of `deformable_groups`.
    Source: Dai et al. 2017, arXiv:1703.06211, section 2.1; Zhu et al. 2018, arXiv:1811.11168, section 3.2, for
        `modulated`. torch: none; torchvision's deform_conv2d takes offsets and weights in this order.
    """

    kind: ClassVar[str] = "deformable_conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin = Field(0, description="positions added on each side")
    dilation: Extent = Field(1, description="positions between two taps before they are moved")
    groups: PositiveInt = Field(1, description="channel groups that do not see each other")
    deformable_groups: PositiveInt = Field(1, description="channel groups with offsets of their own")
    modulated: bool = Field(True, description="weigh each tap too (version 2); false: move it alone (version 1)")
    bias: bool = Field(True, description="add a learned value to each output channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1},
        [(4, 5, 5)],
        shape=(6, 5, 5),
        params=(6 * 4 * 3 * 3 + 6) + (27 * 4 * 3 * 3 + 27),
        macs=(6 + 27) * 4 * 3 * 3 * 5 * 5,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "deformable_conv")
        if len(positions(x, "deformable_conv")) != 2:
            raise ShapeError(
                "deformable_conv moves taps of an image, (C, H, W), and {0} is none",
                hint="Take `conv`, or `- reshape` to an image.",
                inputs=xs,
            )
        check_groups(self.groups, x.channels, self.out_channels)
        if x.channels % self.deformable_groups:
            raise ShapeError(
                f"deformable_conv has {x.channels} channels, which do not split into "
                f"deformable_groups = {self.deformable_groups}",
                hint=f"Pick a divisor of {x.channels}.",
            )
        window = self._window()
        stops = window.slide(x.size)
        weight = (self.out_channels, x.channels // self.groups, *window.kernel)
        taps, places = prod(window.kernel), prod(stops)
        moved = self.deformable_groups * taps
        channels = moved * (3 if self.modulated else 2)
        offset = (channels, x.channels, *window.kernel)
        biases = {"bias": (self.out_channels,)} if self.bias else {}
        read = x.channels * taps * places
        held = read * (2 if self.modulated else 1) + (2 + self.modulated) * moved * places
        return Plan(
            shape=Shape((self.out_channels, *stops)),
            weights={"weight": weight, **biases, "offset_weight": offset, "offset_bias": (channels,)},
            macs=(prod(weight) + prod(offset)) * places,
            window=AxisMap((None, None, None)),
            saved_bytes=FLOAT * held,
            warnings=window_warnings(window, x.size),
        )

    def _window(self) -> Window:
        return Window.over(2, self.kernel_size, self.stride, self.padding, self.dilation)

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv_adaptive import DeformableConv as Built

        conv = Conv(**{name: getattr(self, name) for name in type(self).model_fields if name in Conv.model_fields})
        return Built(conv.module(*xs), self.deformable_groups, self.modulated)


class _Mixed(Layer):
    """Base class of convolutions whose filters are mixed from several, by weights that depend on the sample."""

    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin = Field(0, description="positions added on each side")
    dilation: Extent = Field(1, description="positions between two taps")
    groups: PositiveInt = Field(1, description="channel groups that do not see each other")
    bias: bool = Field(True, description="add a learned value to each output channel, mixed as the filters are")

    learns: ClassVar[bool] = True
    number: ClassVar[str]
    """The field that counts the filters that are mixed."""

    def router(self, x: Shape) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the weights that compute how much of each filter a sample gets."""
        raise NotImplementedError

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        size = positions(x, self.kind)
        check_groups(self.groups, x.channels, self.out_channels)
        window = Window.over(len(size), self.kernel_size, self.stride, self.padding, self.dilation)
        stops = window.slide(size)
        count, filters = getattr(self, self.number), (self.out_channels, x.channels // self.groups, *window.kernel)
        routing = self.router(x)
        biases = {"bias": (count, self.out_channels)} if self.bias else {}
        weights = {"weight": (count, *filters), **biases, **routing}
        mixing = count * (prod(filters) + (self.out_channels if self.bias else 0))
        matrices = sum(prod(shape) for shape in routing.values() if len(shape) == 2)
        return Plan(
            shape=Shape((self.out_channels, *stops)),
            weights=weights,
            macs=prod(filters) * prod(stops) + mixing + matrices,
            window=InputPaths(((0, window), (0, AxisMap((None,) * len(x))))),
            saved_bytes=FLOAT * (prod(filters) + self.held(x)),
            warnings=window_warnings(window, size),
        )

    def held(self, x: Shape) -> int:
        """Return the number of values of a sample that the router saves."""
        raise NotImplementedError

    def _conv(self, x: Shape) -> Module:
        options = {name: getattr(self, name) for name in type(self).model_fields if name in Conv.model_fields}
        return Conv(**options).module(x)


class CondConv(_Mixed):
    """Convolve each sample with filters of its own: a sum of `num_experts` filters, weighed by sigmoid(W mean(x)).

    Shapes: (C, *size) -> (out_channels, *size'), size' as for `conv`.
    Cost: E times the weights and biases of `conv`, with E = num_experts, and E * C + E for W and its bias; the MACs
        of `conv`, one for each weight and bias to mix, and E * C.
    Errors: those of `conv`.
    Source: Yang et al. 2019, arXiv:1904.04971, section 3. torch: none.
    """

    kind: ClassVar[str] = "cond_conv"
    num_experts: PositiveInt = Field(8, description="filters that are mixed")

    number: ClassVar[str] = "num_experts"
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1, "num_experts": 2},
        [(4, 5, 5)],
        shape=(6, 5, 5),
        params=2 * (6 * 4 * 3 * 3 + 6) + 2 * 4 + 2,
        macs=6 * 4 * 3 * 3 * 5 * 5 + 2 * (6 * 4 * 3 * 3 + 6) + 2 * 4,
    )

    def router(self, x: Shape) -> dict[str, tuple[int, ...]]:
        return {"router.weight": (self.num_experts, x.channels), "router.bias": (self.num_experts,)}

    def held(self, x: Shape) -> int:
        return x.channels + self.num_experts

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv_adaptive import CondConv as Built

        return Built(self._conv(xs[0]), self.num_experts)


class DynamicConv(_Mixed):
    """Convolve each sample with filters of its own: a mean of `num_kernels` filters, weighed by attention.

    The weights are softmax(W2 relu(W1 mean(x)) / temperature); W1 leads to a quarter of the channels. A high
    temperature keeps all filters in training; the paper lowers it from 30 to 1 over its first ten epochs.

    Shapes: (C, *size) -> (out_channels, *size'), size' as for `conv`.
    Cost: K times the weights and biases of `conv`, with K = num_kernels, and those of two linear layers, from C to
        S = max(1, C // reduction) without a bias and on to K; the MACs of `conv`, one for each weight and bias to
        mix, and S * C + K * S.
    Errors: those of `conv`.
    Source: Chen et al. 2019, arXiv:1912.03458, section 3. torch: none.
    """

    kind: ClassVar[str] = "dynamic_conv"
    num_kernels: PositiveInt = Field(4, description="filters that are mixed")
    reduction: PositiveInt = Field(4, description="how many times fewer values than channels lie between W1 and W2")
    temperature: PositiveFloat = Field(30.0, description="what the scores are divided by before the softmax")

    number: ClassVar[str] = "num_kernels"
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1, "num_kernels": 2},
        [(8, 5, 5)],
        shape=(6, 5, 5),
        params=2 * (6 * 8 * 3 * 3 + 6) + 2 * 8 + 2 * 2 + 2,
        macs=6 * 8 * 3 * 3 * 5 * 5 + 2 * (6 * 8 * 3 * 3 + 6) + 2 * 8 + 2 * 2,
    )

    def router(self, x: Shape) -> dict[str, tuple[int, ...]]:
        inside = self._inside(x)
        return {
            "squeeze.weight": (inside, x.channels),
            "attend.weight": (self.num_kernels, inside),
            "attend.bias": (self.num_kernels,),
        }

    def held(self, x: Shape) -> int:
        return x.channels + self._inside(x) + self.num_kernels

    def _inside(self, x: Shape) -> int:
        return max(1, x.channels // self.reduction)

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv_adaptive import DynamicConv as Built

        return Built(self._conv(xs[0]), self.num_kernels, self._inside(xs[0]), self.temperature)
