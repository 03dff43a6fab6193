"""SimCLR: two views of an example are recognised among the views of all others."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import pydantic

from ..lazy import F, torch
from ..metrics import Mode
from ..schedules.values import Positive
from .base import Caller, views_of
from .self_supervised import NETWORK, SelfSupervised

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch

EVALUATED = 64
"""Examples that are distinguished in an evaluation, whose batches depend on the device."""


class SimCLR(SelfSupervised):
    """Tell two views of an example from the views of all others of the batch.

    Each example is changed twice by `train.augment`, with draws of its own each time. Of the outputs z of 2N views,
    at length 1, the loss is NT-Xent: the mean of -log(exp(z_i z_j / T) / sum over k other than i of exp(z_i z_k / T))
    over all pairs (i, j) of one example, both ways. In evaluations the draws are always the same.
    Data: a field of floats that `train.augment` changes. Network: `network`, an encoder and the projection that later
    stages leave out, from an example to a vector (features,). Metrics, among 64 examples at a time: loss; accuracy,
    how often the other view of the example is the nearest; alignment, the mean square distance of two views of an
    example; uniformity, log of the mean of exp(-2 * square distance) over pairs of examples (Wang & Isola 2020,
    arXiv:2005.10242). Of outputs that are all alike the accuracy is that of chance and the uniformity 0.
    Errors: no `train.augment`, without which both views are equal; `accumulate`, which cuts batches in pieces.
    Source: Chen, Kornblith, Norouzi & Hinton 2020, A Simple Framework for Contrastive Learning of Visual
    Representations, arXiv:2002.05709, section 2.1, equation 1.
    """

    kind: ClassVar[str] = "simclr"
    temperature: Positive = pydantic.Field(
        0.5, description="T, by which similarities are divided; it may be scheduled"
    )
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)
    views: ClassVar[int] = 2
    compares: ClassVar[bool] = True

    @property
    def times(self) -> int:
        return self.views

    def outputs(self, call: Caller, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the outputs of both views at length 1, each (N, features)."""
        views = batch[views_of(self.field)]
        z = F.normalize(call(NETWORK, views.transpose(0, 1).flatten(0, 1)).flatten(1), dim=1)
        first, second = z.chunk(2)
        return first, second

    def similarities(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return z z' / T of 2N views, -inf on the diagonal, and the number of the other view of each."""
        z = torch.cat([first, second])
        alike = (z @ z.T / self.temperature).masked_fill(
            torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf
        )
        return alike, torch.arange(len(z), device=z.device).roll(len(first))

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"nt_xent": F.cross_entropy(*self.similarities(*self.outputs(call, batch)))}

    def evaluate(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> Mapping[str, Tensor | tuple[Tensor, Tensor]]:
        first, second = self.outputs(call, batch)
        groups = list(zip(*(torch.split(z, EVALUATED) for z in (first, second)), strict=True))
        each = [self.similarities(*group) for group in groups]
        count = torch.tensor(len(first))
        pairs = torch.tensor(sum(len(one) * (len(one) - 1) for one, _ in groups))
        close = [torch.exp(-2 * torch.cdist(*group).square()).fill_diagonal_(0).sum() for group in groups]
        return {
            "loss": (sum(F.cross_entropy(*one, reduction="sum") for one in each) / (2 * count), count),
            "accuracy": (sum((alike.argmax(1) == other).sum() for alike, other in each) / (2 * count), count),
            "alignment": ((first - second).square().sum(1).mean(), count),
            "uniformity": (torch.stack(close).sum() / pairs.clamp(min=1), pairs),
        }

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        return {**means, "uniformity": math.log(max(means["uniformity"], sys.float_info.min))}

    def modes(self) -> dict[str, Mode]:
        return {"loss": "min", "accuracy": "max", "alignment": "min", "uniformity": "min"}
