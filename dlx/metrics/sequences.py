"""Metrics of whole sequences or maps of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..lazy import torch
from .base import Meter, Metric

if TYPE_CHECKING:
    from torch import Tensor


class _Matches(Meter):
    """Counts examples that are right at every position that counts."""

    def __init__(self, ignore: int | None) -> None:
        self.ignore = ignore
        self.right: Tensor | int = 0
        self.all: Tensor | int = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        hits, target = (output.argmax(1) == target).reshape(len(target), -1), target.reshape(len(target), -1)
        counted = torch.ones_like(hits) if self.ignore is None else target != self.ignore
        some = counted.any(1)
        self.right = self.right + ((hits | ~counted).all(1) & some).sum()
        self.all = self.all + some.sum()

    def compute(self) -> Tensor:
        return torch.as_tensor(self.right) / torch.as_tensor(self.all)

    def note(self, names: object = ()) -> str:
        return "exact_match is undefined: no example has a target that counts" if int(self.all) == 0 else ""


class ExactMatch(Metric):
    """Share of examples whose largest logit is the target at every position that counts: of whole sequences.

    torchmetrics: multiclass_exact_match, of examples. Examples of which no position counts are left out.
    """

    kind: ClassVar[str] = "exact_match"
    binary: ClassVar[bool] = False
    ranks: ClassVar[bool] = True

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Matches(ignore)
