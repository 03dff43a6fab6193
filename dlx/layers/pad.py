"""Padding and cropping."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ..errors import ShapeError, plural
from ..shapes import Shape, Window, by_x, per_axis
from .base import AxisSlice, Example, Extent, Layer, Plan, WindowLike, floats, positions

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module

Sides = NonNegativeInt | list[NonNegativeInt]
Mode = Literal["constant", "reflect", "replicate", "circular"]
Pairs = tuple[tuple[int, int], ...]
"""Positions before and after, for each axis."""


class Pad(Layer):
    """Pad a signal, an image or a volume by a number of positions on each side.

    A list goes from the last axis to the first, two numbers an axis, as in torch: [left, right] for a signal, [left,
    right, top, bottom] for an image, then [front, back]. The receptive field counts an added position where it
    stands, outside the input, also where it holds a copy of a value inside.

    Shapes: (C, *size) -> (C, *size'), size' = size + before + after on each axis.
    Cost: no MACs.
    Errors: a list without two numbers for each axis; more reflected positions than the input has beside its edge, or
        more circular ones than it has; an input that is not of floats.
    Source: Goodfellow et al. 2016, Deep Learning, section 9.5. torch: none; it is functional.pad, and the modules
        ZeroPad2d, ConstantPad2d, ReflectionPad2d, ReplicationPad2d and CircularPad2d for each rank.
    """

    kind: ClassVar[str] = "pad"
    padding: Sides = Field(description="positions added: one number, or [left, right, top, bottom, ...]")
    mode: Mode = Field("constant", description="what the added positions hold")
    value: float = Field(0.0, description="what they hold in mode constant")

    example: ClassVar[Example] = Example({"padding": [0, 1, 2, 3]}, [(4, 5, 5)], shape=(4, 10, 6))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "pad")
        size = positions(x, "pad")
        return _padded(x, _pairs(self.padding, len(size), "padding"), self.mode)

    def module(self, *xs: Shape) -> Module:
        from ..modules.pad import Pad as Built

        return Built(_pairs(self.padding, len(xs[0].size), "padding"), self.mode, self.value)


class PadSame(Layer):
    """Pad as TensorFlow's padding "same" does for the window that follows, so that size / stride positions fit.

    Where their number is odd, the end of the axis gets one more: torch's paddings are alike on both sides, and a
    stride of 2 then sees other positions. The layer that it stands before has padding 0.

    Shapes: (C, *size) -> (C, *size') with size' = (stops - 1)*stride + dilation*(kernel_size - 1) + 1 on each axis,
        where stops = size / stride rounded up or down; size' = size where that is more: no position is cut off.
    Cost: no MACs.
    Errors: fewer positions than a stride, with `stops: down`; those of `pad`.
    Source: Abadi et al. 2016, tf.nn, "Notes on padding"; rounded down, Russell & Norvig 2021, section 22.3.
        torch: none.
    """

    kind: ClassVar[str] = "pad_same"
    kernel_size: Extent = Field(description="taps of the window that comes next, on each axis")
    stride: Extent = Field(1, description="its positions between two stops")
    dilation: Extent = Field(1, description="its positions between two taps")
    stops: Literal["up", "down"] = Field("up", description="how size / stride is rounded")
    mode: Mode = Field("constant", description="what the added positions hold")
    value: float = Field(0.0, description="what they hold in mode constant")

    example: ClassVar[Example] = Example({"kernel_size": 3, "stride": 2}, [(4, 7, 8)], shape=(4, 9, 9))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "pad_same")
        positions(x, "pad_same")
        return _padded(x, self._pairs(x), self.mode)

    def module(self, *xs: Shape) -> Module:
        from ..modules.pad import Pad as Built

        return Built(self._pairs(xs[0]), self.mode, self.value)

    def _pairs(self, x: Shape) -> Pairs:
        window = Window.over(len(x.size), self.kernel_size, self.stride, 0, self.dilation)
        strides = per_axis(self.stride, len(x.size), "stride")
        stops = [n // s if self.stops == "down" else -(-n // s) for n, s in zip(x.size, strides, strict=True)]
        if min(stops) < 1:
            raise ShapeError(
                f"{{0}} is smaller than the stride of {by_x(strides)}, and size / stride rounds down to no stop",
                hint="Take a smaller stride, or `stops: up`.",
                inputs=[x],
            )
        axes = zip(stops, strides, window.extent, x.size, strict=True)
        wanted = [max(0, (p - 1) * s + extent - n) for p, s, extent, n in axes]
        return tuple((w // 2, w - w // 2) for w in wanted)


class PadChannels(Layer):
    """Add channels of zeros, as the parameter-free shortcuts of a ResNet do.

    Shapes: (C, *size) -> (out_channels, *size); (C,) -> (out_channels,).
    Cost: no MACs.
    Errors: fewer out_channels than there are, with those that come before; an input that is not of floats.
    Source: He et al. 2015, arXiv:1512.03385, section 3.3, option A. torch: none; it is functional.pad.
    """

    kind: ClassVar[str] = "pad_channels"
    out_channels: PositiveInt = Field(description="channels of the output")
    before: NonNegativeInt = Field(0, description="how many of the added ones come first; the others come last")

    example: ClassVar[Example] = Example({"out_channels": 8}, [(4, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "pad_channels")
        if self._after(x) < 0:
            more = f" with {self.before} before them" if self.before else ""
            raise ShapeError(
                f"pad_channels fills up to out_channels = {self.out_channels}, and {{0}} has {x.channels}{more}",
                hint=f"Ask for {x.channels + self.before} or more; `pointwise_conv` makes fewer.",
                inputs=[x],
            )
        return Plan(shape=Shape((self.out_channels, *x.size)), window=AxisSlice(0, -self.before), saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.pad import PadChannels as Built

        return Built(self.before, self._after(xs[0]))

    def _after(self, x: Shape) -> int:
        return self.out_channels - x.channels - self.before


class Crop(Layer):
    """Crop a signal, an image or a volume: to its centre, or by a number of positions on each side.

    The middle of `size` positions of n begins at position (n - size) // 2, as with `concat: {crop: center}`.

    Shapes: (C, *size) -> (C, *size'), as `size` says, or without what `sides` takes off; these go from the last axis
        to the first: [left, right] for a signal, [left, right, top, bottom] for an image.
    Cost: nothing; the output shares the memory of the input.
    Errors: both or none of `size` and `sides`; more than there is to cut.
    Source: Ronneberger et al. 2015, arXiv:1505.04597, section 2. torch: none; it is narrow on each axis.
    """

    kind: ClassVar[str] = "crop"
    size: Extent | None = Field(None, description="positions of the middle that is kept, on each axis")
    sides: Sides | None = Field(None, description="positions cut off: one number, or [left, right, top, bottom, ...]")

    example: ClassVar[Example] = Example({"sides": [0, 2, 0, 1]}, [(4, 5, 5)], shape=(4, 4, 3))

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.size is None) == (self.sides is None):
            which = "both" if self.size is not None else "none"
            raise ValueError(f"`size` keeps the middle and `sides` cuts each side: give one of them, not {which}")
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        pairs = self._pairs(x)
        left = [n - before - after for n, (before, after) in zip(x.size, pairs, strict=True)]
        if min(left) < 1 or any(before < 0 for before, _ in pairs):
            what = (
                f"keep {by_x(per_axis(self.size, len(left), 'size'))}" if self.size is not None else "cut that much"
            )
            raise ShapeError(
                f"crop cannot {what} of {{0}}, which has {by_x(x.size)} positions",
                hint="Cut less; `- pad` adds positions.",
                inputs=[x],
            )
        ones, zeros = (1,) * len(left), (0,) * len(left)
        cut = Window(ones, ones, tuple(-before for before, _ in pairs), zeros, ones)
        window: WindowLike = cut if any(map(sum, pairs)) else "pointwise"
        return Plan(shape=Shape((x.channels, *left), x.dtype), window=window, by_channel=True, view=True, saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.pad import Crop as Built

        return Built(self._pairs(xs[0]))

    def _pairs(self, x: Shape) -> Pairs:
        size = positions(x, "crop")
        if self.size is None:
            return _pairs(self.sides or 0, len(size), "sides")
        wanted = per_axis(self.size, len(size), "size")
        return tuple(((n - w) // 2, n - w - (n - w) // 2) for n, w in zip(size, wanted, strict=True))


def _pairs(sides: Sides, rank: int, what: str) -> Pairs:
    """Return the padding before and after on each axis, from torch's order, which starts with the last axis."""
    if isinstance(sides, int):
        return ((sides, sides),) * rank
    if len(sides) != 2 * rank:
        names = ("left, right", "top, bottom", "front, back")[:rank]
        axes = "1 axis" if rank == 1 else f"{rank} axes"
        raise ShapeError(
            f"{what} = {sides} has {plural(len(sides), 'value')} for an input with {axes} of positions",
            hint=f"Give one number, or {2 * rank} of them: [{', '.join(names)}].",
        )
    return tuple((sides[2 * i], sides[2 * i + 1]) for i in reversed(range(rank)))


def _padded(x: Shape, pairs: Pairs, mode: Mode) -> Plan:
    limit = {"reflect": -1, "circular": 0}.get(mode)
    if limit is not None and any(max(pair) > n + limit for pair, n in zip(pairs, x.size, strict=True)):
        raise ShapeError(
            f"mode {mode} takes its {by_x([max(pair) for pair in pairs])} padded positions from an input of "
            f"{by_x(x.size)}, which is too small",
            hint='Pad less, or use mode "constant" or "replicate".',
        )
    ones = (1,) * len(pairs)
    before, after = tuple(b for b, _ in pairs), tuple(a for _, a in pairs)
    return Plan(
        shape=Shape((x.channels, *(n + b + a for n, b, a in zip(x.size, before, after, strict=True)))),
        window=Window(ones, ones, before, after, ones) if any(before + after) else "pointwise",
        by_channel=True,
        saved=("inputs",) if mode in {"reflect", "replicate"} else (),
    )
