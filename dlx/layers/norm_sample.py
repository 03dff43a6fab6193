"""Normalisation of each sample, without batch statistics; training and evaluation are equal."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape
from .base import OWN, Example, Layer, Plan, SavedIf, WindowLike, by_rank, floats, positions

if TYPE_CHECKING:
    from torch.nn import Module

STATISTICS = 2 * 4
"""Bytes of a mean and a standard deviation, which torch saves for the backward pass."""


class LayerNorm(Layer):
    """Normalise each sample to mean 0 and variance 1 over some axes, with a learned scale and shift.

    `over` says which values: a number takes the last so many axes, each value with a scale and a shift of its own, as
    torch's `normalized_shape` does (1: the features of each token, as in ViT and GPT; as many as x has: all of it).
    "channels" takes the channels of each position by itself, as ConvNeXt does for images; "sample" takes all channels
    and positions together, as Prince's book does. Those two have one scale and one shift for each channel.

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: more axes than x has; an input that is not of floats.
    Source: Ba et al. 2016, arXiv:1607.06450, equation 3; Prince 2023, Understanding Deep Learning, figure 11.14; Liu
        et al. 2022, arXiv:2201.03545, for "channels". torch: LayerNorm. `over` stands for its normalized_shape.
    """

    kind: ClassVar[str] = "layer_norm"
    over: PositiveInt | Literal["channels", "sample"] = Field(
        1, description='the last so many axes; "channels" of each position; or all of the "sample"'
    )
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")
    elementwise_affine: bool = Field(True, description="learn a scale and a shift")
    bias: bool = Field(True, description="learn the shift too")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(16, 32)], shape=(16, 32), params=2 * 32)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "layer_norm")
        each = self._weight(x)
        weights = {"weight": each} if self.elementwise_affine else {}
        if weights and self.bias:
            weights["bias"] = each
        if self.over == "channels":
            lines = prod(x.size)
            return Plan(x, weights, window=(-1,), saved_bytes=STATISTICS * lines)
        axes = len(x) if self.over == "sample" else self.over
        return Plan(x, weights, window=_last(x, axes), saved_bytes=STATISTICS * prod(x[: len(x) - axes]))

    def module(self, *xs: Shape) -> Module:
        from ..modules.norm import ChannelsLayerNorm

        (x,) = xs
        if isinstance(self.over, int):
            return nn.LayerNorm(tuple(x[-self.over :]), **self.options("over"))
        if self.over == "channels":
            return ChannelsLayerNorm(x.channels, **self.options("over"))
        made = nn.GroupNorm(1, x.channels, eps=self.eps, affine=self.elementwise_affine)
        if not self.bias:
            made.register_parameter("bias", None)
        return made

    def _weight(self, x: Shape) -> tuple[int, ...]:
        if not isinstance(self.over, int):
            return (x.channels,)
        return _last_axes(x, self.over, "layer_norm")


class RMSNorm(Layer):
    """Divide the values of the last axes by their root mean square, with a learned scale; no mean is subtracted.

    Shapes: (*) -> (*), each sample, and each place on the axes before the last `over`, by itself.
    Cost: no MACs, as torch's counter has it.
    Errors: more axes than x has; an input that is not of floats.
    Source: Zhang & Sennrich 2019, arXiv:1910.07467, equation 4. torch: RMSNorm. `over` stands for its
        normalized_shape; where `eps` is null, it is 1.2e-7, the step of float32 at 1, for half
        precisions too, and 2.2e-16 in float64.
    """

    kind: ClassVar[str] = "rms_norm"
    over: PositiveInt = Field(1, description="the last so many axes are normalised together")
    eps: float | None = Field(None, gt=0, description="added to the mean square before its root is taken")
    elementwise_affine: bool = Field(True, description="learn a scale for each value")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(16, 32)], shape=(16, 32), params=32)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "rms_norm")
        each = _last_axes(x, self.over, "rms_norm")
        lines = prod(x[: len(x) - self.over])
        return Plan(
            x,
            {"weight": each} if self.elementwise_affine else {},
            window=_last(x, self.over),
            saved=(),
            saved_if=(SavedIf((0,), input=0), SavedIf((0,), more=4 * lines), SavedIf((OWN,), more=x.bytes)),
        )

    def module(self, *xs: Shape) -> Module:
        return nn.RMSNorm(tuple(xs[0][-self.over :]), **self.options("over"))


class GroupNorm(Layer):
    """Normalise each group of channels to mean 0 and variance 1, over its channels and positions.

    With one group this is `layer_norm: sample`; with as many as channels it is `instance_norm: {affine: true}`.

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: C not a multiple of `num_groups`; an input that is not of floats. Where each group is a single value torch
        refuses a batch of one.
    Source: Wu & He 2018, arXiv:1803.08494, equation 7. torch: GroupNorm.
    """

    kind: ClassVar[str] = "group_norm"
    num_groups: PositiveInt = Field(description="groups that the channels are split into")
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")
    affine: bool = Field(True, description="learn a scale and a shift for each channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({"num_groups": 4}, [(8, 5, 5)], shape=(8, 5, 5), params=2 * 8)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "group_norm")
        if x.channels % self.num_groups:
            raise ShapeError(
                f"the {x.channels} channels of {{0}} do not split into num_groups = {self.num_groups}",
                hint=f"Pick a divisor of {x.channels}.",
                inputs=[x],
            )
        each = (x.channels,)
        alone = x.count == self.num_groups
        return Plan(
            x,
            {"weight": each, "bias": each} if self.affine else {},
            window=_last(x, len(x)),
            saved_bytes=STATISTICS * self.num_groups,
            warnings=("each group is a single value: nothing but the shift comes out",) if alone else (),
        )

    def values_per_statistic(self, batch: int, training: bool, *xs: Shape) -> int | None:
        return batch * xs[0].count // self.num_groups

    def module(self, *xs: Shape) -> Module:
        return nn.GroupNorm(num_channels=xs[0].channels, **self.options())


class InstanceNorm(Layer):
    """Normalise each channel of each sample to mean 0 and variance 1 over its positions.

    Shapes: (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: an input without positions, with one only, or with more than three axes of them; an input that is not of
        floats.
    Source: Ulyanov et al. 2016, arXiv:1607.08022, equation 4. torch: InstanceNorm1d, InstanceNorm2d, InstanceNorm3d.
    """

    kind: ClassVar[str] = "instance_norm"
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")
    momentum: float = Field(0.1, ge=0, le=1, description="weight of the newest batch in the running averages")
    affine: bool = Field(False, description="learn a scale and a shift for each channel")
    track_running_stats: bool = Field(False, description="keep running averages, and use those in evaluation")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({"affine": True}, [(8, 5, 5)], shape=(8, 5, 5), params=2 * 8)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "instance_norm")
        size = positions(x, "instance_norm")
        if prod(size) == 1:
            raise ShapeError(
                "instance_norm takes mean and variance over positions, and {0} has a single one",
                hint="Take `layer_norm` or `group_norm`, or normalise before the positions are gone.",
                inputs=[x],
            )
        each = (x.channels,)
        repeated = 4 * self.affine + 8 * self.track_running_stats  # for each sample anew: scales, averages
        tracked = {"running_mean": each, "running_var": each, "num_batches_tracked": ()}
        return Plan(
            x,
            {"weight": each, "bias": each} if self.affine else {},
            tracked if self.track_running_stats else {},
            window="pointwise" if self.track_running_stats else tuple(range(len(size))),
            saved_bytes=(STATISTICS + repeated) * x.channels,
        )

    def module(self, *xs: Shape) -> Module:
        made: Module = by_rank(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[len(xs[0]) - 1](
            xs[0].channels, **self.options()
        )
        return made


class LocalResponseNorm(Layer):
    """Divide each value by a power of the mean square of `size` channels around it.

    torch weighs the mean of the squares. AlexNet's paper weighs their sum: its n = 5, alpha = 1e-4, k = 2 are
    `{size: 5, alpha: 5e-4, k: 2}` here. Channels beyond the first and last count as 0.

    Shapes: (C, *size) -> (C, *size); y = x / (k + alpha * mean of x^2 over the channels) ^ beta.
    Cost: nothing learned; no MACs, as torch's counter has it.
    Errors: an input without positions; an input that is not of floats.
    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 3.3.
        torch: LocalResponseNorm.
    """

    kind: ClassVar[str] = "local_response_norm"
    size: PositiveInt = Field(le=10_000, description="neighbouring channels, the own one included")
    alpha: float = Field(1e-4, ge=0, description="weight of the mean square")
    beta: float = Field(0.75, description="the power")
    k: float = Field(1.0, ge=0, description="added to the mean square")

    example: ClassVar[Example] = Example({"size": 5}, [(8, 6, 6)], shape=(8, 6, 6))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "local_response_norm")
        if len(x) == 1:
            raise ShapeError(
                "local_response_norm wants channels and positions, and {0} is a vector",
                hint="`- reshape: [-1, 1]` makes each value a channel with one position.",
                inputs=[x],
            )
        padded = (x.channels + self.size - 1) * prod(x.size)
        return Plan(x, window=(-1,), saved_bytes=4 * padded + 2 * x.bytes)

    def module(self, *xs: Shape) -> Module:
        return nn.LocalResponseNorm(**self.options())


def _last_axes(x: Shape, axes: int, kind: str) -> tuple[int, ...]:
    """Return the lengths of the last `axes` axes. ShapeError where there are fewer."""
    if axes > len(x):
        raise ShapeError(
            f"{kind} goes over the last {axes} axes, and {{0}} has {len(x)}",
            hint=f"Give `over` a number up to {len(x)}.",
            inputs=[x],
        )
    return tuple(x[-axes:])


def _last(x: Shape, axes: int) -> WindowLike:
    """Return the dependency on all values of the last `axes` axes."""
    return tuple(range(len(x) - axes - 1, len(x) - 1))
