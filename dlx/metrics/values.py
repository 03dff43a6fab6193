"""Metrics of values: R2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from ..lazy import torch
from .base import Meter, Metric

if TYPE_CHECKING:
    from torch import Tensor


class R2(Metric):
    """1 - squared error / variance of the targets: 1 is perfect, 0 is as good as their mean.

    Several values of a target are averaged; one that does not vary counts as 1 where it is met exactly, else as 0.
    Undefined for a single example. Sums are in float64 about a running mean (Chan et al. 1979). scikit-learn:
    r2_score.
    """

    kind: ClassVar[str] = "r2"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "values"

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _R2()


class _R2(Meter):
    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.spread: Tensor | float = 0.0
        """The sum of squared distances of the targets from their mean, by value."""
        self.error: Tensor | float = 0.0

    def update(self, output: Tensor, target: Tensor) -> None:
        output, target = output.flatten(1).double(), target.flatten(1).double()
        n, mean = len(target), target.mean(0)
        difference, total = mean - self.mean, self.count + n
        self.spread = self.spread + (target - mean).square().sum(0) + difference.square() * (self.count * n / total)
        self.mean = self.mean + difference * (n / total)
        self.error = self.error + (output - target).square().sum(0)
        self.count = total

    def compute(self) -> Tensor:
        if self.count < 2:
            return torch.tensor(torch.nan)
        spread, error = torch.as_tensor(self.spread), torch.as_tensor(self.error)
        constant = (error == 0).to(error.dtype)
        return torch.where(spread > 0, 1 - error / spread, constant).mean()

    def note(self, names: Sequence[str]) -> str:
        return "undefined, for there is a single example" if self.count < 2 else ""
