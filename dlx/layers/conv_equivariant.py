"""Convolutions that turn with their input: of the group of rotations by 90 degrees and translations."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, Window
from .base import OWN, Example, Layer, Plan, SavedIf, floats, positions, window_warnings

if TYPE_CHECKING:
    from torch.nn import Module

FLOAT = 4


class _P4(Layer):
    """Base class of convolutions of the group p4: rotations by 90 degrees, and translations."""

    out_channels: PositiveInt = Field(description="filters; each gives four channels, one for each rotation of it")
    kernel_size: PositiveInt = Field(description="taps on both axes")
    stride: PositiveInt = Field(1, description="positions between two stops")
    padding: NonNegativeInt = Field(0, description="positions added on each side")
    bias: bool = Field(True, description="add a learned value to the four channels of each filter")

    learns: ClassVar[bool] = True
    turns: ClassVar[int] = 1
    """Channels of the input that are rotations of one another."""

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        if len(positions(x, self.kind)) != 2:
            raise ShapeError(
                f"{self.kind} turns filters over an image, (C, H, W), and {{0}} is none",
                hint="Take `conv`, or `- reshape` to an image.",
                inputs=xs,
            )
        if x.channels % self.turns:
            raise ShapeError(
                f"{self.kind} takes channels in fours, one for each rotation, and {{0}} has {x.channels}",
                hint="`- p4_lifting_conv` makes them of an image.",
                inputs=xs,
            )
        window = Window.over(2, self.kernel_size, self.stride, self.padding, 1)
        stops = window.slide(x.size)
        between = (self.turns,) if self.turns > 1 else ()
        weight = (self.out_channels, x.channels // self.turns, *between, *window.kernel)
        return Plan(
            shape=Shape((4 * self.out_channels, *stops)),
            weights={"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {}),
            macs=4 * prod(weight) * prod(stops),
            window=window,
            saved_if=(SavedIf((0, OWN), fixed=4 * FLOAT * prod(weight)),),
            derived_bytes=4 * FLOAT * prod(weight),
            warnings=window_warnings(window, x.size),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.conv_equivariant import P4Conv as Built

        into = xs[0].channels // self.turns
        return Built(into, self.out_channels, self.kernel_size, self.stride, self.padding, self.bias, self.turns)


class P4LiftingConv(_P4):
    """Convolve an image with each filter in four rotations, by 0, 90, 180 and 270 degrees counterclockwise.

    Where the image is turned by 90 degrees, each channel is turned too, and becomes the next of its four. `p4_conv`
    goes on from here; `- maxout: 4` takes the largest of the four, and so forgets the rotation. A `reshape` to
    (C, 4, H, W) before a batch norm gives the four one mean.

    Shapes: (C, H, W) -> (4 * out_channels, H', W'), the four rotations of a filter side by side; H' and W' as for
        `conv`. With a stride it turns with the image where the stops fill the padded image.
    Cost: the weights of `conv`, and one MAC per weight, rotation and output position.
    Errors: an input that is no image, or not of floats; a kernel larger than the padded input.
    Source: Cohen & Welling 2016, arXiv:1602.07576, section 4.2. torch: none.
    """

    kind: ClassVar[str] = "p4_lifting_conv"

    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1},
        [(3, 5, 5)],
        shape=(24, 5, 5),
        params=6 * 3 * 3 * 3 + 6,
        macs=4 * 6 * 3 * 3 * 3 * 5 * 5,
    )


class P4Conv(_P4):
    """Convolve the channels of `p4_lifting_conv`, or of another `p4_conv`, over rotations and positions.

    The filter of each rotation is turned, and its four slices are moved on, so that the output turns with the input.

    Shapes: (4 * C, H, W) -> (4 * out_channels, H', W'), H' and W' as for `conv`.
    Cost: out_channels * C * 4 * kernel_size^2 weights, and one MAC per weight, rotation and output position.
    Errors: channels that are not a multiple of 4; an input that is no image, or not of floats; a kernel larger than
        the padded input.
    Source: Cohen & Welling 2016, arXiv:1602.07576, section 6.1. torch: none.
    """

    kind: ClassVar[str] = "p4_conv"

    turns: ClassVar[int] = 4
    example: ClassVar[Example] = Example(
        {"out_channels": 6, "kernel_size": 3, "padding": 1},
        [(8, 5, 5)],
        shape=(24, 5, 5),
        params=6 * 2 * 4 * 3 * 3 + 6,
        macs=4 * 6 * 2 * 4 * 3 * 3 * 5 * 5,
    )
