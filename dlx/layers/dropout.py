"""Dropout: noise in training only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..lazy import nn
from ..schedules.values import Probability, ValueOverTime
from ..shapes import Shape
from .activation import Pointwise
from .base import Example, Layer, Plan, by_rank, floats, positions

if TYPE_CHECKING:
    from torch.nn import Module


class Dropout(Pointwise):
    """While training, set each value to 0 with probability p, and divide the others by 1 - p.

    Source: Srivastava et al. 2014, JMLR 15, section 4. torch: Dropout.
    """

    kind: ClassVar[str] = "dropout"
    p: Probability = Field(0.5, description="probability that a value is dropped; it may be scheduled")

    def plan(self, *xs: Shape) -> Plan:
        if isinstance(self.p, ValueOverTime):
            floats(xs[0], self.kind)
            return moving_plan(xs[0], xs[0].bytes)
        return _masked(xs[0], self.p, self.kind)

    def module(self, *xs: Shape) -> Module:
        if isinstance(self.p, ValueOverTime):
            from ..modules.moving import MovingDropout

            return MovingDropout(self.p)
        return super().module(*xs)


class AlphaDropout(Pointwise):
    """While training, set each value to the negative limit of `selu` with probability p, keeping mean and variance.

    Source: Klambauer et al. 2017, arXiv:1706.02515, section 3. torch: AlphaDropout.
    """

    kind: ClassVar[str] = "alpha_dropout"
    p: float = Field(0.5, ge=0, le=1, description="probability that a value is dropped")

    def plan(self, *xs: Shape) -> Plan:
        return _masked(xs[0], self.p, self.kind)


class SpatialDropout(Layer):
    """While training, set whole channels to 0 with probability p, and divide the others by 1 - p.

    Shapes: (C, *size) -> (C, *size); all positions of a channel share one fate.
    Cost: nothing learned; no MACs.
    Errors: no positions, or more than three axes of them; an input that is not of floats.
    Source: Tompson et al. 2014, arXiv:1411.4280, section 3.2. torch: Dropout1d, Dropout2d, Dropout3d.
    """

    kind: ClassVar[str] = "spatial_dropout"
    p: Probability = Field(0.5, description="probability that a channel is dropped; it may be scheduled")

    example: ClassVar[Example] = Example({"p": 0.2}, [(8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        if isinstance(self.p, ValueOverTime):
            _by_channel(xs[0], 0.5, self.kind)
            return moving_plan(xs[0], 4 * xs[0].channels)
        return _by_channel(xs[0], self.p, self.kind)

    def module(self, *xs: Shape) -> Module:
        if isinstance(self.p, ValueOverTime):
            from ..modules.moving import MovingDropout

            return MovingDropout(self.p, range(2, len(xs[0]) + 1))
        made: Module = by_rank(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)[len(xs[0]) - 1](**self.options())
        return made


class FeatureAlphaDropout(Layer):
    """While training, set channels to the negative limit of `selu` with probability p, keeping mean and variance.

    Shapes: (C, *size) -> (C, *size); all positions of a channel share one fate.
    Cost: nothing learned; no MACs.
    Errors: no positions, or more than three axes of them; an input that is not of floats.
    Source: Klambauer et al. 2017, arXiv:1706.02515, section 3. torch: FeatureAlphaDropout.
    """

    kind: ClassVar[str] = "feature_alpha_dropout"
    p: float = Field(0.5, ge=0, le=1, description="probability that a channel is dropped")

    example: ClassVar[Example] = Example({"p": 0.2}, [(8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        return _by_channel(xs[0], self.p, self.kind)

    def module(self, *_: Shape) -> Module:
        return nn.FeatureAlphaDropout(**self.options())


def moving_plan(x: Shape, saved_bytes: int) -> Plan:
    """Return the plan of a layer that multiplies by random numbers, with a number that moves in a buffer."""
    return Plan(shape=x, buffers={"value": ()}, saved=(), saved_bytes=saved_bytes)


def _by_channel(x: Shape, p: float, kind: str) -> Plan:
    """Return the plan of a layer whose mask has one value per channel."""
    floats(x, kind)
    positions(x, kind)
    return Plan(shape=x, saved=(), saved_bytes=4 * x.channels if 0 < p < 1 else 0, view=not p)


def _masked(x: Shape, p: float, kind: str) -> Plan:
    """Return the plan of a layer that multiplies by a random mask: torch saves the mask, as floats, and not the
    input.

    With p = 0 torch returns the input itself.
    """
    floats(x, kind)
    return Plan(shape=x, saved=(), saved_bytes=x.bytes if 0 < p < 1 else 0, view=not p)
