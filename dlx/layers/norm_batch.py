"""Variants of batch normalisation that torch does not have."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from ..shapes import Shape
from .base import Example, Layer, Plan, floats

if TYPE_CHECKING:
    from torch.nn import Module


class BookBatchNorm(Layer):
    """Batch norm as in textbooks: (x - m) / (s + eps), with the standard deviation s of the batch, divided by n.

    torch divides by the root of variance + eps and keeps averages of the unbiased variance. Here m and s stand as
    they are, s with one over the number of values. With `eps_in: variance` eps goes under the root, as in AIMA and in
    CS231n. Evaluation uses running averages of m and s; `dlx.modules.norm.recompute_statistics` puts those of the
    whole training set in their place, as the books have it.

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: an input that is not of floats.
    Source: Prince 2023, Understanding Deep Learning, equations 11.7 to 11.9; Russell & Norvig 2021, Artificial
        Intelligence, section 22.4.2, where scale and shift belong to a node or to a layer. torch: none.
    """

    kind: ClassVar[str] = "book_batch_norm"
    eps: float = Field(1e-5, gt=0, description="keeps the division finite")
    eps_in: Literal["std", "variance"] = Field("std", description="what eps is added to")
    momentum: float = Field(0.1, ge=0, le=1, description="weight of the newest batch in the running averages")
    affine: Literal["channel", "layer", "none"] = Field(
        "channel", description="a learned scale and shift for each channel, one for the whole layer, or none"
    )

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8, 5, 5), params=2 * 8, buffers=2 * 8)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        each, learned = (x.channels,), (1 if self.affine == "layer" else x.channels,)
        return Plan(
            x,
            {"weight": learned, "bias": learned} if self.affine != "none" else {},
            {"running_mean": each, "running_std": each},
            saved=(),
            saved_bytes=x.bytes,
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules import norm

        return norm.BookBatchNorm(xs[0].channels, **self.options())


class GhostBatchNorm(Layer):
    """Batch norm over parts of the batch, with the noise of a small batch whatever the batch size.

    A batch is cut into as few parts as hold at most `virtual_batch_size` samples, as equal as can be; each has a mean
    and a variance of its own, and the running averages follow them one after the other. Evaluation is `batch_norm`'s.

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: an input that is not of floats; torch refuses to train on a part with one value a channel.
    Source: Hoffer et al. 2017, arXiv:1705.08741, algorithm 1. torch: none; BatchNorm2d knows no parts.
    """

    kind: ClassVar[str] = "ghost_batch_norm"
    virtual_batch_size: PositiveInt = Field(32, description="samples in a part, at most")
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")
    momentum: float = Field(0.1, ge=0, le=1, description="weight of the newest part in the running averages")
    affine: bool = Field(True, description="learn a scale and a shift for each channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8, 5, 5), params=2 * 8, buffers=2 * 8 + 1)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        each = (x.channels,)
        return Plan(
            x,
            {"weight": each, "bias": each} if self.affine else {},
            {"running_mean": each, "running_var": each, "num_batches_tracked": ()},
        )

    def values_per_statistic(self, batch: int, training: bool, *xs: Shape) -> int | None:
        return batch // ceil(batch / self.virtual_batch_size) * prod(xs[0].size) if training else None

    def module(self, *xs: Shape) -> Module:
        from ..modules import norm

        return norm.GhostBatchNorm(xs[0].channels, **self.options())


class BatchRenorm(Layer):
    """Batch norm whose training output equals that of evaluation, within bounds.

    y = ((x - m) / s * r + d) with r = s / running s within [1/rmax, rmax] and d = (m - running m) / running s within
    [-dmax, dmax]; neither gets a gradient. With rmax = 1 and dmax = 0 this is batch norm. The bounds start there,
    stay for `plain` batches, and then grow in a straight line.

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: an input that is not of floats.
    Source: Ioffe 2017, arXiv:1702.03275, algorithm 1; the bounds, and when they are reached, from section 4.
        torch: none.
    """

    kind: ClassVar[str] = "batch_renorm"
    rmax: float = Field(3.0, ge=1, description="r is between 1/rmax and rmax")
    dmax: float = Field(5.0, ge=0, description="d is between -dmax and dmax")
    plain: NonNegativeInt = Field(5000, description="batches of plain batch norm at the start")
    rmax_at: NonNegativeInt = Field(40_000, description="the batch from which r has its whole range")
    dmax_at: NonNegativeInt = Field(25_000, description="the batch from which d has its whole range")
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")
    momentum: float = Field(0.01, ge=0, le=1, description="weight of the newest batch in the running averages")
    affine: bool = Field(True, description="learn a scale and a shift for each channel")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8, 5, 5), params=2 * 8, buffers=2 * 8 + 1)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        each = (x.channels,)
        return Plan(
            x,
            {"weight": each, "bias": each} if self.affine else {},
            {"running_mean": each, "running_std": each, "num_batches_tracked": ()},
            saved=(),
            saved_bytes=x.bytes,
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules import norm

        return norm.BatchRenorm(xs[0].channels, **self.options())


class FrozenBatchNorm(Layer):
    """Batch norm with fixed scale, shift, mean and variance.

    It is what detectors put in the place of a trained `batch_norm`. Before values are given, it hands on its input.

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it.
    Errors: an input that is not of floats.
    Source: He et al. 2015, arXiv:1512.03385, appendix A; names as in torchvision's FrozenBatchNorm2d. torch: none.
    """

    kind: ClassVar[str] = "frozen_batch_norm"
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(8, 5, 5), buffers=4 * 8)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        names = ("weight", "bias", "running_mean", "running_var")
        return Plan(x, buffers=dict.fromkeys(names, (x.channels,)), saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules import norm

        return norm.FrozenBatchNorm(xs[0].channels, **self.options())
