"""Layers of normalising flows: each has an inverse, and gives the logarithm of its volume change."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape, Window
from .base import OWN, Example, Layer, Plan, SavedIf, WindowLike, all_floats, floats

if TYPE_CHECKING:
    from torch.nn import Module

FLOAT = 4


class ActNorm(Layer):
    """Scale and shift each channel: y = x * exp(log_scale) + shift, a norm whose statistics are learned.

    The objective `flow` sets both by the first examples, so that each channel begins with mean 0 and deviation 1.

    Shapes: (C, *size) -> the same.
    Cost: 2 * C parameters; no MACs. log |det| = positions * the sum of log_scale.
    Errors: an input that is not of floats.
    Source: Kingma & Dhariwal 2018, Glow, arXiv:1807.03039, section 3.1. torch: none.
    """

    kind: ClassVar[str] = "actnorm"
    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(6, 4, 4)], shape=(6, 4, 4), params=12)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        return Plan(x, {"log_scale": (x[0],), "shift": (x[0],)}, saved=(), saved_if=(SavedIf((OWN,), input=0),))

    def module(self, *xs: Shape) -> Module:
        from ..modules.invertible import ActNorm as Built

        return Built(xs[0][0])


class Invertible1x1(Layer):
    """Mix the channels of each position by a square matrix, a 1x1 convolution that has an inverse.

    It begins as a random rotation. A spec's `init` leaves it alone.

    Shapes: (C, *size) -> the same.
    Cost: C * C parameters, and as many MACs a position; the determinant is not counted. log |det| = positions times
        that of the matrix.
    Errors: an input that is not of floats.
    Source: Kingma & Dhariwal 2018, Glow, arXiv:1807.03039, section 3.2. torch: none.
    """

    kind: ClassVar[str] = "invertible_1x1"
    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(6, 4, 4)], shape=(6, 4, 4), params=36, macs=36 * 4 * 4)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        window: WindowLike = "global" if len(x) == 1 else Window.over(len(x) - 1, 1)
        own = SavedIf((OWN,) if len(x) == 1 else (0, OWN), input=0)  # torch's convolution keeps its input in any case
        # the LU factors of the determinant, its pivots and its sign
        factors = SavedIf((OWN,), fixed=FLOAT * (x[0] * x[0] + x[0] + 1))
        matrix = {"matrix": (x[0], x[0])}
        return Plan(x, matrix, macs=x[0] * x.count, window=window, saved=(), saved_if=(own, factors))

    def module(self, *xs: Shape) -> Module:
        from ..modules.invertible import Invertible1x1 as Built

        return Built(xs[0][0])


class ReverseChannels(Layer):
    """Turn the order of the channels around, so that the next coupling changes those that the last one left.

    Shapes: (C, *size) -> the same.
    Cost: nothing learned, no MACs. log |det| = 0.
    Errors: none.
    Source: Dinh et al. 2016, Real NVP, arXiv:1605.08803, section 3.5. torch: none; it is flip(x, 1).
    """

    kind: ClassVar[str] = "reverse_channels"
    example: ClassVar[Example] = Example({}, [(6, 4, 4)], shape=(6, 4, 4))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        window: WindowLike = "global" if len(x) == 1 else Window.over(len(x) - 1, 1)
        return Plan(x, window=window, saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.invertible import ReverseChannels as Built

        return Built()


class AffineCoupling(Layer):
    """Scale and shift some values by what a small network makes of the others, which stay as they are.

    y = x * exp(s) + t, where s and t depend on the values that the mask leaves alone. `channels`: the first half of
    them stays, one more where they are odd, and `channels_swapped` the last half; `checkerboard` and
    `checkerboard_swapped` are by position. The network has linear layers of `hidden` units, for positions
    convolutions, with relu between them; its last layer begins at 0, so that y begins as x. s = limit * tanh(s' /
    limit). A second input, a vector such as the embedding of a class, goes into the network too.

    Shapes: (C, *size) -> the same; with a second input (E,).
    Cost: parameters and MACs of the network. log |det| = the sum of s.
    Errors: a single channel with a mask of channels; checkerboard without positions; an even kernel; a
        second input that is no vector; an input that is not of floats.
    Source: Dinh et al. 2016, Real NVP, arXiv:1605.08803, sections 3.2 to 3.4. torch: none.
    """

    kind: ClassVar[str] = "affine_coupling"
    hidden: list[PositiveInt] = Field([64, 64], description="units, or channels, of the layers of its network")
    kernel_size: PositiveInt = Field(3, description="taps of its convolutions, where there are positions")
    mask: Literal["channels", "channels_swapped", "checkerboard", "checkerboard_swapped"] = Field(
        "channels", description="which values stay as they are"
    )
    limit: PositiveFloat = Field(2.0, description="largest |s|, so that no scale overflows")

    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2)
    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"hidden": [8]},
        [(4,)],
        shape=(4,),
        params=4 * 8 + 8 + 8 * 8 + 8,
        macs=4 * 8 + 8 * 8,
        buffers=4,
    )

    def plan(self, *xs: Shape) -> Plan:
        x, positions = xs[0], prod(xs[0].size)
        all_floats(xs, self.kind)
        if len(xs) > 1 and len(xs[1]) != 1:
            raise ShapeError(
                "affine_coupling takes a vector as second input, and {1} is none",
                hint="Put `flatten` before it.",
                inputs=xs,
            )
        if self.mask.startswith("checkerboard") and not x.size:
            raise ShapeError(
                "affine_coupling masks a checkerboard of positions, and {0} has none",
                hint="Take `mask: channels`.",
                inputs=xs,
            )
        if self.mask.startswith("channels") and x[0] < 2:
            raise ShapeError(
                "affine_coupling changes half of the channels, and {0} has one",
                hint="Take `mask: checkerboard`, or `pixel_unshuffle` before it.",
                inputs=xs,
            )
        if x.size and self.kernel_size % 2 == 0:
            message = f"affine_coupling keeps the size, and a kernel of {self.kernel_size} taps has no middle"
            raise ShapeError(message, hint="Take an odd number.", inputs=xs)
        sizes = [x[0] + (xs[1][0] if len(xs) > 1 else 0), *self.hidden, 2 * x[0]]
        taps = (self.kernel_size,) * len(x.size)
        weights: dict[str, tuple[int, ...]] = {}
        for i, (before, after) in enumerate(pairwise(sizes)):
            weights |= {f"inner.{2 * i}.weight": (after, before, *taps), f"inner.{2 * i}.bias": (after,)}
        first = (0, 1, OWN) if x.size else (OWN,)  # torch's convolution keeps its input in any case
        mask = (x[0], *(x.size if self.mask.startswith("checkerboard") else [1] * len(x.size)))
        return Plan(
            x,
            weights,
            {"mask": mask},
            macs=positions * sum(prod(shape) for name, shape in weights.items() if name.endswith("weight")),
            window="global",
            saved=(),
            saved_bytes=FLOAT * positions * (sum(self.hidden) + 2 * x[0]),
            saved_if=(SavedIf((0, 1, OWN), input=0), SavedIf(first, more=FLOAT * positions * sizes[0])),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.invertible import AffineCoupling as Built

        x, extra = xs[0], xs[1][0] if len(xs) > 1 else 0
        return Built(x[0], x.size, self.hidden, self.kernel_size, self.limit, self.mask, extra)
