"""Meters of several labels an example: a metric of each label, and its average over the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import listed
from ..lazy import torch
from .base import Meter

if TYPE_CHECKING:
    from torch import Tensor

MOST_NAMED = 5
"""Number of labels that a note names."""
Defined = Callable[["Tensor", "Tensor"], "Tensor"]
"""Function from the counts of targets and predictions of 0 and 1, (2, labels), to whether the metric is defined."""


class PerLabel(Meter):
    """Base class of meters of several labels. Labels for which the metric is undefined are left out of the mean."""

    def __init__(self, defined: Defined, average: str) -> None:
        self.is_defined, self.average = defined, average

    def each(self) -> Tensor:
        """Return the metric of each label, (labels,); NaN where it is undefined."""
        raise TypeError(f"{type(self).__name__} has no each()")

    def counts(self) -> tuple[Tensor, Tensor, int]:
        """Return the targets of 1 and the predictions of 1 of each label, and the number of examples."""
        raise TypeError(f"{type(self).__name__} has no counts()")

    def defined(self) -> Tensor:
        """Return whether the metric is defined for each label, (labels,)."""
        true, predicted, count = self.counts()
        tables = (torch.stack([count - one, one]) for one in (true, predicted))
        return self.is_defined(*tables)[1]

    def compute(self) -> Tensor:
        """Return the average over the labels, by their targets of 1 where it is `weighted`."""
        found, defined = self.each().double(), self.defined()
        weights = defined * (self.counts()[0] if self.average == "weighted" else 1)
        return (torch.where(defined, found, 0) * weights).sum() / weights.sum()

    def note(self, names: Sequence[str]) -> str:
        """Return a note on the labels that the mean leaves out."""
        left = [i for i, one in enumerate(self.defined().tolist()) if not one]
        if not left or self.average in {"weighted", "micro"}:
            return ""
        called = [names[i] if i < len(names) else str(i) for i in left]
        labels = f"label{'s' if len(called) > 1 else ''} {listed(called, MOST_NAMED, quote='')}"
        return f"without {labels}, for which it is undefined"


class LabelCounts(PerLabel):
    """A ratio of the counts of hits, predictions and targets of each label, such as F1."""

    def __init__(
        self,
        ratio: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
        defined: Defined,
        average: str,
        thresholds: Tensor,
    ) -> None:
        super().__init__(defined, average)
        self.ratio, self.thresholds, self.count = ratio, thresholds, 0
        self.table: Tensor | None = None
        """Hits, predictions of 1 and targets of 1: (3, labels)."""

    def update(self, output: Tensor, target: Tensor) -> None:
        predicted, true = output.sigmoid() > self.thresholds, target > 0.5
        found = torch.stack([(predicted & true).sum(0), predicted.sum(0), true.sum(0)])
        self.table = found if self.table is None else self.table + found
        self.count += len(target)

    def counts(self) -> tuple[Tensor, Tensor, int]:
        assert self.table is not None
        return self.table[2], self.table[1], self.count

    def each(self) -> Tensor:
        assert self.table is not None
        return torch.where(self.defined(), self._ratio(self.table), torch.nan)

    def compute(self) -> Tensor:
        if self.average != "micro":
            return super().compute()
        assert self.table is not None
        return self._ratio(self.table.sum(1))

    def _ratio(self, table: Tensor) -> Tensor:
        part, whole = (one.float() for one in self.ratio(*table))
        return torch.where(whole != 0, part / whole, 0.0)


class LabelAreas(PerLabel):
    """Area under a curve of each label. The logits and targets of the whole part are kept."""

    def __init__(self, area: Callable[[Tensor, Tensor], Tensor], defined: Defined, average: str) -> None:
        super().__init__(defined, average)
        self.area = area
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        self.outputs.append(output.sigmoid())
        self.targets.append(target > 0.5)

    def counts(self) -> tuple[Tensor, Tensor, int]:
        true = torch.cat(self.targets)
        return true.sum(0), torch.zeros_like(true[0], dtype=torch.long), len(true)

    def each(self) -> Tensor:
        scores, true = torch.cat(self.outputs), torch.cat(self.targets)
        areas = [self.area(scores[:, k], true[:, k]) for k in range(scores.shape[1])]
        return torch.where(self.defined(), torch.stack(areas), torch.nan)
