"""Convolutions with a learned or a given mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, Window
from .base import (
    OWN,
    Example,
    Extent,
    Layer,
    Margin,
    Plan,
    SavedIf,
    WindowLike,
    all_floats,
    floats,
    positions,
    window_warnings,
)
from .conv import Conv

if TYPE_CHECKING:
    from torch.nn import Module


class GatedConv(Layer):
    """Multiply a convolution by the sigmoid of a second one, a learned mask.

    Shapes: (C, *size) -> (out_channels, *size'), size' as for `conv`.
    Cost: weights and MACs of two convolutions.
    Errors: those of `conv`.
    Source: Yu et al. 2018, arXiv:1806.03589, section 3.1, before its activation of the features; Prince 2023,
        Understanding Deep Learning, notes of chapter 10. torch: none; it is conv(x) * sigmoid(conv(x)).
    """

    kind: ClassVar[str] = "gated_conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin | Literal["same", "valid", "causal"] = Field(0, description="positions added on each side")
    dilation: Extent = Field(1, description="positions between two taps")
    groups: PositiveInt = Field(1, description="channel groups that do not see each other")
    bias: bool = Field(True, description="add a learned value to each channel of the features and of the mask")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1},
        [(4, 5, 5)],
        shape=(6, 5, 5),
        params=2 * (6 * 4 * 3 * 3 + 6),
        macs=2 * 6 * 4 * 3 * 3 * 5 * 5,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "gated_conv")
        positions(x, "gated_conv")
        one = self._conv().plan(x)
        return Plan(
            shape=one.shape,
            weights={f"{part}.{name}": w for part in ("features", "gate") for name, w in one.weights.items()},
            macs=2 * one.macs,
            window=one.window,
            saved=one.saved,
            saved_bytes=2 * (one.shape.bytes + one.saved_bytes),
            warnings=one.warnings,
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv import GatedConv as Built

        return Built(self._conv().module(*xs), self._conv().module(*xs))

    def _conv(self) -> Conv:
        return Conv(**{name: getattr(self, name) for name in type(self).model_fields})


class PartialConv(Layer):
    """Convolve known values only, scaled by the fraction of each window that is known; 0 where none is.

    Takes two inputs, `from: [image, mask]`. The mask is 1 where a value is known and 0 where it is not; what is
    padded counts as not known. y = conv(x * mask) * K / sum(mask) + bias, with K the values of a window and sum(mask)
    those of them that are known; y = 0 where none is. Its result `mask` is that of the output, of one channel, which
    the next layer takes: `from: [first, first.mask]`.

    Shapes: (C, *size) with a mask (C, *size) or (1, *size) -> (out_channels, *size'), size' as for `conv`.
    Cost: that of `conv`, and one MAC per tap, channel of the mask and output position to count what is known.
    Errors: those of `conv`; a mask of another size, or of channels that are neither 1 nor C.
    Source: Liu et al. 2018, arXiv:1804.07723, section 3.1; Prince 2023, Understanding Deep Learning, notes of chapter
        10. torch: none.
    """

    kind: ClassVar[str] = "partial_conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent = Field(1, description="positions between two stops")
    padding: Margin = Field(0, description="unknown positions added on each side")
    dilation: Extent = Field(1, description="positions between two taps")
    bias: bool = Field(True, description="add a learned value to each output channel")

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    input_names: ClassVar[tuple[str, ...]] = ("input", "mask")
    hiding: ClassVar[Mapping[str, bool]] = {"mask": False}
    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1},
        [(4, 5, 5), (1, 5, 5)],
        shape=(6, 5, 5),
        params=6 * 4 * 3 * 3 + 6,
        macs=6 * 4 * 3 * 3 * 5 * 5 + 3 * 3 * 5 * 5,
    )

    def plan(self, *xs: Shape) -> Plan:
        all_floats(xs, "partial_conv")
        x, mask = xs
        size = positions(x, "partial_conv")
        if mask.size != size or mask.channels not in {1, x.channels}:
            raise ShapeError(
                f"partial_conv masks {{0}} with {{1}}: the mask must be {Shape((1, *size))} or {x}",
                hint="Give them as `from: [image, mask]`; a pool brings a mask to a smaller size.",
                inputs=xs,
            )
        window = Window.over(len(size), self.kernel_size, self.stride, self.padding, self.dilation)
        stops = window.slide(size)
        weight = (self.out_channels, x.channels, *window.kernel)
        return Plan(
            shape=Shape((self.out_channels, *stops)),
            weights={"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {}),
            macs=(prod(weight) + mask.channels * prod(window.kernel)) * prod(stops),
            window=window,
            no_gradient=(1,),
            saved=(),
            saved_bytes=x.bytes + (5 if self.bias else 4) * prod(stops),  # what is let through, and how much
            saved_if=(SavedIf((0,), input=1),),
            warnings=window_warnings(window, size),
        )

    def results(self, *xs: Shape) -> Mapping[str, Shape]:
        return {"mask": Shape((1, *self.plan(*xs).shape.size))}

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv import PartialConv as Built

        return Built(self._conv().module(xs[0]))

    def _conv(self) -> Conv:
        return Conv(**{name: getattr(self, name) for name in type(self).model_fields})


class MaskedConv(Layer):
    """Convolve positions before each one alone, row by row: the layer of PixelCNN.

    Padded so that the size stays. Mask "A" leaves out the own position, as the first layer of a network wants it, and
    "B" has it, as all others do. Channels of a position see each other. A stack of kernels above 1 has a blind spot,
    positions above to the right that no output sees (arXiv:1606.05328, figure 1).

    Shapes: (C, *size) -> (out_channels, *size).
    Cost: parameters and MACs of `conv`, those of masked taps too; a buffer of the mask.
    Errors: an even `kernel_size`, which has no middle; those of `conv`.
    Source: van den Oord et al. 2016, Pixel recurrent neural networks, arXiv:1601.06759, section 3.4. torch: none.
    """

    kind: ClassVar[str] = "masked_conv"
    out_channels: PositiveInt = Field(description="filters, and so channels of the output")
    kernel_size: Extent = Field(description="taps on each axis, an odd number")
    mask: Literal["A", "B"] = Field("B", description="leave out the own position (A), or have it (B)")
    dilation: Extent = Field(1, description="positions between two taps")
    bias: bool = Field(True, description="add a learned value to each output channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "mask": "A"},
        [(4, 5, 5)],
        shape=(6, 5, 5),
        params=6 * 4 * 3 * 3 + 6,
        macs=6 * 4 * 3 * 3 * 5 * 5,
        buffers=3 * 3,
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "masked_conv")
        positions(x, "masked_conv")
        one = self._conv().plan(x)
        kernel = one.weights["weight"][2:]
        if any(taps % 2 == 0 for taps in kernel):
            raise ShapeError(
                f"masked_conv masks what is behind the middle of its kernel, and {Shape(kernel)} has none",
                hint="Take odd numbers of taps.",
                inputs=xs,
            )
        made = 4 * prod(one.weights["weight"])
        return replace(
            one,
            window=self._seen(kernel),
            buffers={"mask": kernel},
            saved_if=(*one.saved_if, SavedIf((0, OWN), fixed=made)),
            derived_bytes=2 * made,
        )

    def _seen(self, kernel: tuple[int, ...]) -> WindowLike:
        """Return the taps that are not masked: none behind the middle of the first long axis, all of later ones."""
        first = next((axis for axis, taps in enumerate(kernel) if taps > 1), None)
        own = self.mask == "B"
        if first is None:
            return Window.over(len(kernel), 1) if own else "nothing"
        whole = Window.over(len(kernel), kernel, 1, "same", self.dilation)
        own = own or any(taps > 1 for taps in kernel[first + 1 :])  # the row of the position is seen in part
        taps, far = kernel[first] // 2 + own, whole.dilation[first]
        after = far * (taps - 1) - whole.before[first]
        return replace(
            whole,
            kernel=(*kernel[:first], taps, *kernel[first + 1 :]),
            after=(*whole.after[:first], after, *whole.after[first + 1 :]),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.masked import masked_conv

        kernel = self._conv().plan(xs[0]).weights["weight"][2:]
        options = {"out_channels": self.out_channels, "dilation": self.options()["dilation"], "bias": self.bias}
        return masked_conv(xs[0].channels, kernel, self.mask == "B", **options)

    def _conv(self) -> Conv:
        options = {name: getattr(self, name) for name in ("out_channels", "kernel_size", "dilation", "bias")}
        return Conv(**options, padding="same")
