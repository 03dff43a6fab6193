"""Random branches in training: stochastic depth, shake-shake, shake-drop, drop-path."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..errors import ShapeError
from ..schedules.values import Probability, ValueOverTime
from ..shapes import Shape
from .base import Example, Layer, Plan, all_floats, floats
from .dropout import moving_plan
from .merge import broadcast_shape

if TYPE_CHECKING:
    from torch.nn import Module

Mode = Literal["row", "batch"]
"""Whether random numbers are drawn for each sample, or once for the batch."""
MODE = '"row": chance decides for each sample; "batch": once for all of them'


class StochasticDepth(Layer):
    """While training, set a sample to 0 with probability p, and divide the others by 1 - p.

    At the end of the branch of a residual block it drops the block. Blocks further up are dropped more often:
    `p: ${0.2 * i / 12}`.

    Shapes: (*) -> (*).
    Cost: nothing learned; no MACs.
    Errors: an input that is not of floats.
    Source: Huang et al. 2016, arXiv:1603.09382, section 3. torch: none; torchvision's StochasticDepth, whose `mode`
        has no default.
    """

    kind: ClassVar[str] = "stochastic_depth"
    p: Probability = Field(description="probability that a sample is dropped; it may be scheduled")
    mode: Mode = Field("row", description=MODE)

    example: ClassVar[Example] = Example({"p": 0.2}, [(8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        floats(xs[0], "stochastic_depth")
        if isinstance(self.p, ValueOverTime):
            return moving_plan(xs[0], 4 if self.mode == "row" else 0)
        return Plan(shape=xs[0], saved=(), saved_bytes=4 if self.p and self.mode == "row" else 0, view=not self.p)

    def module(self, *xs: Shape) -> Module:
        if isinstance(self.p, ValueOverTime):
            from ..modules.moving import MovingDropout

            return MovingDropout(self.p, range(1 if self.mode == "row" else 0, len(xs[0]) + 1))
        from ..modules.paths import StochasticDepth as Built

        return Built(self.p, self.mode)


class ShakeShake(Layer):
    """Mix the branches in random proportions, with others in the backward pass; the mean in evaluation.

    Shapes: the same from two branches or more -> the same. The proportions are positive and add up to 1: for two
        branches a and 1 - a, with a uniform in 0 to 1.
    Cost: nothing learned; no MACs.
    Errors: inputs that differ in rank, channels or size, or that are not of floats.
    Source: Gastaldi 2017, arXiv:1705.07485, section 1. torch: none; it is composed.
    """

    kind: ClassVar[str] = "shake_shake"
    backward: Literal["shake", "even", "keep"] = Field(
        "shake", description="proportions of the gradients: drawn anew, all alike, or those of the forward pass"
    )
    mode: Mode = Field("row", description=MODE)

    arity: ClassVar[int | tuple[int, ...] | None] = None
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        each = 4 * len(xs) if self.mode == "row" and self.backward != "even" else 0
        return Plan(shape=_alike("shake_shake", xs), saved=(), saved_bytes=each)

    def module(self, *_: Shape) -> Module:
        from ..modules.paths import ShakeShake as Built

        return Built(self.backward, self.mode)


class ShakeDrop(Layer):
    """While training, multiply with probability p by a random factor in -1 to 1, and the gradient by one in 0 to 1.

    It stands at the end of the branch of a residual block. In evaluation the factor is its mean, 1 - p.

    Shapes: (*) -> (*).
    Cost: nothing learned; no MACs.
    Errors: an input that is not of floats.
    Source: Yamada et al. 2018, arXiv:1802.02375, equation 6; its p, that nothing happens, is 1 - p here.
        torch: none; it is composed.
    """

    kind: ClassVar[str] = "shake_drop"
    p: float = Field(0.5, ge=0, le=1, description="probability that the branch is shaken")
    mode: Mode = Field("row", description=MODE)

    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        floats(xs[0], "shake_drop")
        return Plan(shape=xs[0], saved=(), saved_bytes=4 if self.mode == "row" and self.p else 0, view=not self.p)

    def module(self, *_: Shape) -> Module:
        from ..modules.paths import ShakeDrop as Built

        return Built(self.p, self.mode)


class DropPath(Layer):
    """The mean of the branches, some of which are dropped in training: the join of FractalNet.

    Each branch is left out with probability p, but one of them always stays. With probability `single`, one branch
    stays and all others go; joins choose it apart from each other, where the paper has one column for all of them.

    Shapes: the same from two branches or more -> the same.
    Cost: nothing learned; no MACs.
    Errors: inputs that differ in rank, channels or size, or that are not of floats.
    Source: Larsson et al. 2016, arXiv:1605.07648, section 4, where p is 0.15 and `single` 0.5. torch: none; it is
        composed.
    """

    kind: ClassVar[str] = "drop_path"
    p: float = Field(0.15, ge=0, lt=1, description="probability that a branch is left out (local drop-path)")
    single: float = Field(0.0, ge=0, le=1, description="probability that one branch alone stays (global drop-path)")
    mode: Mode = Field("row", description=MODE)

    arity: ClassVar[int | tuple[int, ...] | None] = None
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 5, 5)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        each = 4 * len(xs) if self.mode == "row" else 0
        return Plan(shape=_alike("drop_path", xs), saved=(), saved_bytes=each)

    def module(self, *_: Shape) -> Module:
        from ..modules.paths import DropPath as Built

        return Built(self.p, self.single, self.mode)


def _alike(kind: str, xs: tuple[Shape, ...]) -> Shape:
    """Return the shape of all branches. ShapeError where they differ."""
    shape = broadcast_shape(kind, xs)
    all_floats(xs, kind)
    if any(x != shape for x in xs):
        i = next(i for i, x in enumerate(xs) if x != shape)
        raise ShapeError(
            f"{kind} mixes branches of one shape, and {{{i}}} is not {shape}",
            hint="Nothing stretches here: bring the branches to one shape first.",
            inputs=xs,
        )
    return shape
