"""Noise on the input in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..schedules.values import ValueOverTime, Weight
from ..shapes import Shape, by_x, per_axis
from .base import Example, Extent, Layer, Plan, floats, positions
from .dropout import moving_plan

if TYPE_CHECKING:
    from torch.nn import Module


class GaussianNoise(Layer):
    """While training, add normal noise to each value; `relative` noise grows with the value.

    Shapes: (*) -> (*); x + std * e, or x * (1 + std * e), for e normal of mean 0 and variance 1.
    Cost: nothing learned; no MACs.
    Errors: an input that is not of floats.
    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization"; Prince 2023, Understanding
        Deep Learning, section 9.3.4; the relative kind is Srivastava et al. 2014, section 10. torch: none; it is
        randn_like.
    """

    kind: ClassVar[str] = "gaussian_noise"
    std: Weight = Field(0.1, description="standard deviation of the noise; it may be scheduled")
    relative: bool = Field(False, description="in units of the value: the factor 1 + noise instead of the sum")

    example: ClassVar[Example] = Example({"std": 0.2}, [(1, 8, 8)], shape=(1, 8, 8))

    def plan(self, *xs: Shape) -> Plan:
        floats(xs[0], "gaussian_noise")
        if isinstance(self.std, ValueOverTime):
            return moving_plan(xs[0], xs[0].bytes if self.relative else 0)
        return Plan(
            shape=xs[0], saved=(), saved_bytes=xs[0].bytes if self.relative and self.std else 0, view=not self.std
        )

    def module(self, *_: Shape) -> Module:
        if isinstance(self.std, ValueOverTime):
            from ..modules.moving import MovingNoise

            return MovingNoise(self.std, self.relative)
        from ..modules.noise import GaussianNoise as Built

        return Built(self.std, self.relative)


class Cutout(Layer):
    """While training, set a patch at a random position of each sample to 0, in all channels.

    Shapes: (C, *size) -> (C, *size). The middle of the patch is any position, so that at the border less is cut.
    Cost: nothing learned; no MACs.
    Errors: a patch larger than the input; no positions, or more than three axes of them; an input that is not of
        floats.
    Source: DeVries & Taylor 2017, arXiv:1708.04552, section 3; Prince 2023, Understanding Deep Learning, chapter 10,
        notes. torch: none; it is a mask.
    """

    kind: ClassVar[str] = "cutout"
    length: Extent = Field(description="positions that a patch has on each axis")
    holes: PositiveInt = Field(1, le=1000, description="patches in each sample; they may overlap")

    example: ClassVar[Example] = Example({"length": 16}, [(3, 32, 32)], shape=(3, 32, 32))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "cutout")
        size = positions(x, "cutout")
        lengths = per_axis(self.length, len(size), "length")
        if any(k > n for k, n in zip(lengths, size, strict=True)):
            raise ShapeError(
                f"cutout has patches of {by_x(lengths)}, and the positions of {{0}} are {by_x(size)}",
                hint="Take a shorter `length`: half of the input is much already.",
                inputs=[x],
            )
        mask = Shape(size, "bool").bytes
        return Plan(shape=x, saved=(), saved_bytes=mask)

    def module(self, *xs: Shape) -> Module:
        from ..modules.noise import Cutout as Built

        return Built(per_axis(self.length, len(xs[0]) - 1, "length"), self.holes)
