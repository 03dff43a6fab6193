"""Metrics of joints in heat maps: distances between peaks, in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from ..lazy import torch
from .base import Mean, Meter, Metric, Mode

if TYPE_CHECKING:
    from torch import Tensor


class JointDistance(Metric):
    """Mean distance between the peaks of predicted and true heat maps, in pixels.

    Outputs and targets (N, joints, height, width).
    """

    kind: ClassVar[str] = "joint_distance"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "values"
    of_heat_maps: ClassVar[bool] = True
    mode: ClassVar[Mode] = "min"

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _OfPeaks(lambda distance: distance)


class PCK(Metric):
    """Percentage of correct keypoints: fraction of joints whose predicted peak is near the true one.

    Outputs and targets (N, joints, height, width). Source: Yang & Ramanan 2013, Articulated human detection with
    flexible mixtures of parts, section 6.2, where nearness is a part of the body's size.
    """

    kind: ClassVar[str] = "pck"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "values"
    of_heat_maps: ClassVar[bool] = True
    within: NonNegativeFloat = Field(2.0, description="largest distance that counts as near, in pixels")

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _OfPeaks(lambda distance: (distance <= self.within).float())


class _OfPeaks(Mean, Meter):
    """Mean of a function of the distances between peaks of maps."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def update(self, output: Tensor, target: Tensor) -> None:
        width = target.shape[-1]
        places = [torch.stack([at // width, at % width]) for at in (t.flatten(2).argmax(2) for t in (output, target))]
        distance = (places[0] - places[1]).float().square().sum(0).sqrt()
        self.add(self.function(distance).mean(), distance.numel())
