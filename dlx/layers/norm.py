"""Batch normalisation."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape
from .base import Example, Layer, Plan, floats

if TYPE_CHECKING:
    from torch.nn import Module


class BatchNorm(Layer):
    """Normalise each channel to mean 0 and variance 1 over batch and positions, with a learned scale and shift.

    While training, mean and variance are the batch's own, and running averages follow them; evaluation uses those
    (the batch's own where `track_running_stats` is false, so that each position sees all of them).

    Shapes: (C,) -> (C,); (C, *size) -> (C, *size).
    Cost: no MACs, as torch's counter has it; about two multiply-adds a value.
    Errors: more than three axes of positions; an input that is not of floats; torch refuses a batch with one
        value a channel where it takes the mean of it.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1. torch: BatchNorm1d, BatchNorm2d, BatchNorm3d.
    """

    kind: ClassVar[str] = "batch_norm"
    eps: float = Field(1e-5, gt=0, description="added to the variance before its root is taken")
    momentum: float | None = Field(
        0.1,
        ge=0,
        le=1,
        description="weight of the newest batch in the running averages; null weighs all batches alike",
    )
    affine: bool = Field(True, description="learn a scale and a shift for each channel")
    track_running_stats: bool = Field(True, description="keep running averages for evaluation")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {},
        [(8, 5, 5)],
        shape=(8, 5, 5),
        params=2 * 8,
        buffers=2 * 8 + 1,  # mean, variance; batches seen
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "batch_norm")
        if len(x) > 4:
            raise ShapeError(
                f"batch_norm takes channels and up to three axes of positions, and {{0}} has {len(x) - 1} of them",
                hint="`- reshape` joins axes.",
                inputs=[x],
            )
        each = (x.channels,)
        return Plan(
            shape=x,
            weights={"weight": each, "bias": each} if self.affine else {},
            buffers={"running_mean": each, "running_var": each, "num_batches_tracked": ()}
            if self.track_running_stats
            else {},
            window="pointwise" if self.track_running_stats else tuple(range(len(x.size))) or "pointwise",
        )

    def values_per_statistic(self, batch: int, training: bool, *xs: Shape) -> int | None:
        return batch * prod(xs[0].size) if training or not self.track_running_stats else None

    def module(self, *xs: Shape) -> Module:
        kinds = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
        return kinds[len(xs[0]) - 1](xs[0].channels, **self.options())
