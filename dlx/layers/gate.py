"""Gates: values between 0 and 1 that scale or mix signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from ..errors import ShapeError
from ..shapes import Shape
from .base import AxisMap, Example, Extent, InputPaths, Layer, Plan, SavedIf, all_floats, floats, positions
from .conv import Conv
from .linear import Linear
from .merge import broadcast_shape

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module


class Gate(Layer):
    """Interpolate between two inputs by a third: h * t + x * (1 - t), for t between 0 and 1.

    Shapes: x, h and t of (C, *size), in this order -> (C, *size); a single position or channel stretches.
    Cost: no MACs; torch's counter counts those of matrix products alone.
    Errors: inputs that differ in rank, channels or size, or that are not of floats.
    Source: Srivastava et al. 2015, arXiv:1505.00387, equation 3. torch: none; it is torch.lerp.
    """

    kind: ClassVar[str] = "gate"

    arity: ClassVar[int | tuple[int, ...] | None] = 3
    example: ClassVar[Example] = Example({}, [(8, 5, 5), (8, 5, 5), (8, 1, 1)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        shape = broadcast_shape("gate", xs)
        all_floats(xs, "gate")
        held = (SavedIf((2,), input=0), SavedIf((2,), input=1), SavedIf((0, 1, 2), input=2))
        return Plan(shape=shape, saved=(), saved_if=held)

    def module(self, *_: Shape) -> Module:
        from ..modules.gate import Gate as Built

        return Built()


class Highway(Layer):
    """Interpolate between input x and output h of a branch: h * t + x * (1 - t), with t = sigmoid(W x + b) learned.

    It is a merge: `- residual: {layers: [linear: 50, relu], merge: highway}`. Where b begins below 0, x goes through
    nearly as it is at first.

    Shapes: x and h of (C, *size), in this order -> (C, *size). W is a linear layer on a vector, else a convolution
        that keeps the size.
    Cost: that of the linear layer or of the convolution from C channels to C; the rest is not counted.
    Errors: inputs of different shapes, or that are not of floats; more than three axes of positions.
    Source: Srivastava et al. 2015, arXiv:1505.00387, sections 2 and 3.1. torch: none; it is composed.
    """

    kind: ClassVar[str] = "highway"
    initial_bias: float = Field(-1.0, description="what b begins with; the paper has -1 to -3, lower for deeper nets")
    kernel_size: Extent = Field(1, description="taps of the convolution on each axis; of no use for a vector")

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = 2
    example: ClassVar[Example] = Example(
        {"initial_bias": -2}, [(50,), (50,)], shape=(50,), params=50 * 50 + 50, macs=50 * 50
    )

    def plan(self, *xs: Shape) -> Plan:
        x, h = xs
        all_floats(xs, "highway")
        if x != h:
            raise ShapeError(
                "highway mixes {0}, which came in, with {1}: they must be alike",
                hint="Let the layers keep the shape, or give the other way a `shortcut` that changes it too.",
                inputs=xs,
            )
        if len(x) == 1:
            mixing = Linear(out_features=x[0], bias=False).plan(x)
        else:
            mixing = Conv(out_channels=x[0], kernel_size=self.kernel_size, padding="same", bias=False).plan(x)
        weights = {**mixing.weights, "gate_bias": (x[0],)}
        idle = ("`kernel_size` is of no use for a vector, which has no positions",)
        return Plan(
            x,
            weights,
            macs=mixing.macs,
            window=mixing.window,
            saved_bytes=x.bytes + mixing.saved_bytes,
            warnings=idle if len(x) == 1 and self.kernel_size != 1 else (),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.gate import Highway as Built

        weight = self.plan(*xs).weights["weight"]
        return Built(weight, self.initial_bias)


class SqueezeExcitation(Layer):
    """Scale each channel by a gate that is computed from the means of all channels.

    The means go through two 1x1 convolutions, to `squeeze_channels` and back, with an activation between them.

    Shapes: (C, *size) -> (C, *size).
    Cost: S * C parameters and MACs for each of the convolutions, where S is `squeeze_channels` or C // reduction, at
        least 1; S + C more parameters for their biases.
    Errors: both `squeeze_channels` and `reduction`; no positions, or more than three axes of them; an input that is
        not of floats.
    Source: Hu et al. 2017, arXiv:1709.01507, section 3. torch: none; torchvision's SqueezeExcitation.
    """

    kind: ClassVar[str] = "squeeze_excitation"
    squeeze_channels: PositiveInt | None = Field(None, description="channels between the two convolutions")
    reduction: PositiveInt | None = Field(None, description="or how many times fewer they are than C; else 16 times")
    activation: Literal["relu", "silu", "hardswish"] = Field("relu", description="what stands between them")
    gate: Literal["sigmoid", "hardsigmoid"] = Field("sigmoid", description="what brings the result to 0 to 1")
    bias: bool = Field(True, description="add a learned value to each channel after either convolution")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"squeeze_channels": 4},
        [(16, 7, 7)],
        shape=(16, 7, 7),
        params=(4 * 16 + 4) + (16 * 4 + 16),
        macs=2 * 4 * 16,
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.squeeze_channels is not None and self.reduction is not None:
            raise ValueError("`squeeze_excitation` takes `squeeze_channels` or `reduction`, not both")
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "squeeze_excitation")
        ones = (1,) * len(positions(x, "squeeze_excitation"))
        c, s = x.channels, self._squeezed(x)
        weights: dict[str, tuple[int, ...]] = {"fc1.weight": (s, c, *ones), "fc2.weight": (c, s, *ones)}
        if self.bias:
            weights |= {"fc1.bias": (s,), "fc2.bias": (c,)}
        inside = c + s * (1 if self.activation == "relu" else 2) + c * (1 if self.gate == "sigmoid" else 2)
        window = InputPaths(((0, "pointwise"), (0, AxisMap((None,) * len(x)))))
        return Plan(shape=x, weights=weights, macs=2 * s * c, window=window, saved_bytes=4 * inside)

    def _squeezed(self, x: Shape) -> int:
        return self.squeeze_channels or max(1, x.channels // (self.reduction or 16))

    def module(self, *xs: Shape) -> Module:
        from ..modules.gate import SqueezeExcitation as Built

        (x,) = xs
        return Built(len(x) - 1, x.channels, self._squeezed(x), self.activation, self.gate, self.bias)
