"""Metrics of logits and class numbers: top-k error, perplexity, confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ..lazy import F, torch
from .base import Mean, Meter, Metric, Mode

if TYPE_CHECKING:
    from torch import Tensor


class _Each(Mean, Meter):
    """Mean of a function of logits and target."""

    def __init__(self, function: Any, ignore: int | None) -> None:
        super().__init__()
        self.function, self.ignore = function, ignore

    def update(self, output: Tensor, target: Tensor) -> None:
        output, target = output.movedim(1, -1).reshape(-1, output.shape[1]), target.reshape(-1)
        if self.ignore is not None:
            output, target = output[target != self.ignore], target[target != self.ignore]
        self.sum, self.count = self.sum + self.function(output, target).double().sum(), self.count + len(target)


class TopKError(Metric):
    """Fraction of targets that are not among the k classes with the largest logits: `top_5_error`.

    Source: Russakovsky et al. 2015, arXiv:1409.0575, section 4.
    """

    kind: ClassVar[str] = "top_k_error"
    mode: ClassVar[Mode] = "min"
    ranks: ClassVar[bool] = True
    binary: ClassVar[bool] = False
    k: PositiveInt = Field(5, description="how many guesses")

    @property
    def name(self) -> str:
        return f"top_{self.k}_error"

    def check(self, classes: int) -> str:
        if self.k < classes:
            return ""
        return f"`k: {self.k:,}` of top_k_error takes in all {classes:,} classes, so that it is always 0"

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        k = min(self.k, output.shape[1])
        return _Each(lambda x, y: (x.topk(k).indices != y[:, None]).all(1).float(), ignore)


class Perplexity(Metric):
    """exp of the mean cross-entropy: the number of equally likely classes with the same entropy. 1 is perfect."""

    kind: ClassVar[str] = "perplexity"
    mode: ClassVar[Mode] = "min"
    binary: ClassVar[bool] = False

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Exp(lambda x, y: F.cross_entropy(x, y, reduction="none"), ignore)


class _Exp(_Each):
    def compute(self) -> Tensor:
        return super().compute().exp()


class ConfusionMatrix(Metric):
    """Number of targets of each class (rows) predicted to be of each class (columns): a table, not a number.

    At the end of a training that of each part of the data is written to the run as `confusion.json`, and the last one
    is shown. torchmetrics: ConfusionMatrix.
    """

    kind: ClassVar[str] = "confusion_matrix"
    table: ClassVar[bool] = True
    ranks: ClassVar[bool] = True

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return ConfusionCounts(2 if output.dim() == 1 else output.shape[1], ignore)


class ConfusionCounts(Meter):
    """Accumulates the confusion matrix: targets by row, predictions by column."""

    def __init__(self, classes: int, ignore: int | None) -> None:
        self.classes, self.ignore = classes, ignore
        self.counts: Tensor | None = None

    def update(self, output: Tensor, target: Tensor) -> None:
        predicted, meant = (output > 0 if output.dim() == 1 else output.argmax(1)).reshape(-1), target.reshape(-1)
        if self.ignore is not None:
            predicted, meant = predicted[meant != self.ignore], meant[meant != self.ignore]
        found = torch.bincount(meant.long() * self.classes + predicted.long(), minlength=self.classes**2)
        self.counts = found if self.counts is None else self.counts + found

    def compute(self) -> Tensor:
        assert self.counts is not None
        return self.counts.reshape(self.classes, self.classes)
