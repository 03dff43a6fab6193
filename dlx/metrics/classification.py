"""Metrics of classes: ratios of counts, ranking, calibration.

They equal those of torchmetrics to the last bit unless noted, without its import, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import listed
from ..lazy import F, torch
from .base import Meter, Metric, Mode
from .labels import LabelAreas, LabelCounts
from .logits import ConfusionCounts

if TYPE_CHECKING:
    from torch import Tensor

Averaged = Literal["macro", "micro", "weighted"]


class _Scores(ConfusionCounts):
    """A ratio of counts of the confusion matrix."""

    def __init__(self, metric: _Averaged, one: bool, classes: int, ignore: int | None) -> None:
        super().__init__(classes, ignore)
        self.metric, self.one = metric, one

    def update(self, output: Tensor, target: Tensor) -> None:
        # of probabilities: two that are alike are not told apart by their logits
        super().update(output.sigmoid() - 0.5 if self.one else output.softmax(1), target)

    def compute(self) -> Tensor:
        """Return the ratio for each class; for class 1 of one logit; over all classes for `micro`. Undefined
        ratios are 0.
        """
        table = super().compute()
        if self.one:
            hits, taken, true = table[1, 1], table[:, 1].sum(), table[1].sum()
        elif self.metric.average == "micro":
            hits, taken, true = table.diag().sum(), self.metric.counted(table, self.ignore).sum(), table.sum()
        else:
            hits, taken, true = table.diag(), table.sum(0), table.sum(1)
        part, whole = (x.float() for x in self.metric.ratio(hits, taken, true))
        return torch.where(whole != 0, part / whole, 0.0)


class _Gathered(Meter):
    """Stores probabilities and targets of the whole part."""

    def __init__(self, ignore: int | None) -> None:
        self.ignore = ignore
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        if output.dim() == 1:
            output = output.sigmoid()
        else:
            output = output.softmax(1).movedim(1, -1).reshape(-1, output.shape[1])
        target = target.reshape(-1)
        if self.ignore is not None:
            output, target = output[target != self.ignore], target[target != self.ignore]
        self.outputs.append(output)
        self.targets.append(target)


Area = Callable[["Tensor", "Tensor"], "Tensor"]
"""Function from scores (n,) and whether each example is positive (n,) to the area under a curve."""


class _Ranking(_Gathered):
    """Area under a curve over all thresholds, of class 1 or of each class against the rest."""

    def __init__(self, area: Area, ignore: int | None) -> None:
        super().__init__(ignore)
        self.area = area

    def compute(self) -> Tensor:
        output, target = torch.cat(self.outputs), torch.cat(self.targets)
        if output.dim() == 1:
            return self.area(output, target == 1)
        return torch.stack([self.area(output[:, k], target == k) for k in range(output.shape[1])])


def _counts_at_thresholds(scores: Tensor, yes: Tensor) -> tuple[Tensor, Tensor]:
    """Return true and false positives for a threshold at each distinct score, from the largest on."""
    order = scores.argsort(descending=True)
    scores = scores[order]
    ends = F.pad(torch.where(scores[1:] - scores[:-1])[0], [0, 1], value=len(scores) - 1)
    hits = yes[order].long().cumsum(0)[ends]
    return hits, 1 + ends - hits


def roc_area(scores: Tensor, yes: Tensor) -> Tensor:
    """Return the area under the ROC curve; 0 where all or no targets are positive."""
    rates = [F.pad(counts, [1, 0]) / counts[-1].clamp(min=1) for counts in _counts_at_thresholds(scores, yes)]
    return torch.trapezoid(*rates)


def average_precision(scores: Tensor, yes: Tensor) -> Tensor:
    """Return the mean of the precisions at each threshold, weighted by the increase in recall."""
    hits, alarms = _counts_at_thresholds(scores, yes)
    gained = hits.diff(prepend=hits.new_zeros(1))
    return (gained * (hits / (hits + alarms))).sum() / hits[-1].clamp(min=1)


class _Calibration(_Gathered):
    def __init__(self, metric: CalibrationError, ignore: int | None) -> None:
        super().__init__(ignore)
        self.metric = metric

    def confidences(self) -> tuple[Tensor, Tensor]:
        """Return the largest probability of each example and whether its class is the target (n,), as 0 and 1.

        Of one logit the probability of class 1, and whether that is the target.
        """
        confidence, target = torch.cat(self.outputs), torch.cat(self.targets)
        if confidence.dim() == 1:
            return confidence, target.to(confidence.dtype)
        confidence, predicted = confidence.max(1)
        return confidence, predicted.eq(target).to(confidence.dtype)

    def compute(self) -> Tensor:
        confidence, right = self.confidences()
        bounds = torch.linspace(0, 1, self.metric.n_bins + 1, dtype=confidence.dtype, device=confidence.device)
        bins = torch.bucketize(confidence, bounds, right=True) - 1
        count, confident, hits = (
            torch.zeros_like(bounds).scatter_add_(0, bins, x)
            for x in (torch.ones_like(confidence), confidence, right)
        )
        differences = (torch.nan_to_num(hits / count) - torch.nan_to_num(confident / count)).abs()
        share = count / count.sum()
        if self.metric.norm == "max":
            return differences.max()
        return (
            (differences * share).sum() if self.metric.norm == "l1" else (differences.square() * share).sum().sqrt()
        )


Defined = Callable[["Tensor", "Tensor"], "Tensor"]
"""Function from the counts of targets and of predictions of each class to whether its metric is defined."""


class ByClass(Meter):
    """Mean over the classes for which a metric is defined; the metric of class 1 for one logit."""

    def __init__(self, each: Meter, average: str, defined: Defined, ignore: int | None) -> None:
        self.each, self.average, self.defined, self.ignore = each, average, defined, ignore
        self.counts: Tensor | None = None

    def update(self, output: Tensor, target: Tensor) -> None:
        self.each.update(output, target)
        classes = 2 if output.dim() == 1 else output.shape[1]
        predicted = (output > 0 if output.dim() == 1 else output.argmax(1)).reshape(-1).long()
        target = target.reshape(-1).long()
        if self.ignore is not None:
            predicted, target = predicted[target != self.ignore], target[target != self.ignore]
        counts = torch.stack([torch.bincount(one, minlength=classes) for one in (target, predicted)])
        self.counts = counts if self.counts is None else self.counts + counts

    def of_classes(self) -> Tensor:
        """Return the metric of each class, (classes,); NaN where it is undefined."""
        return torch.where(self._defined(), self.each.compute(), torch.nan)

    def compute(self) -> Tensor:
        found = self.each.compute()
        defined = self._defined()
        if found.dim() == 0:
            return torch.where(defined[1], found, found.new_tensor(torch.nan))
        assert self.counts is not None
        weights = defined * (self.counts[0] if self.average == "weighted" else 1)
        return (torch.where(defined, found, 0).double() * weights).sum() / weights.sum()

    def _defined(self) -> Tensor:
        assert self.counts is not None
        return self.defined(self.counts[0], self.counts[1])

    def note(self, names: Sequence[str]) -> str:
        assert self.counts is not None
        defined, present = self._defined().tolist(), (self.counts[0] > 0).tolist()
        if self.average == "one" or not any(defined):
            lacking = [i for i, any_ in enumerate(present) if not any_]
            return "" if defined[-1] else f"undefined, for no target is of {_classes(lacking, names)}"
        if self.average == "weighted":
            return ""
        left = [i for i, one in enumerate(defined) if not one]
        return f"without {_classes(left, names)}, of which there is no target" if left else ""


def _classes(numbers: Sequence[int], names: Sequence[str]) -> str:
    """Join class names: `class 2`, `classes cat, dog and 3 more`."""
    called = [names[i] if i < len(names) else str(i) for i in numbers]
    return f"class{'es' if len(called) > 1 else ''} {listed(called, MOST_NAMED, quote='')}"


MOST_NAMED = 5
"""Number of classes that a note names."""


class _PerClass(Metric):
    """Base class of metrics that are averaged over classes."""

    of_labels: ClassVar[bool] = True
    average: Averaged

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        each = self.each(output, ignore)
        if self.average == "micro" and output.dim() > 1:
            return each
        return ByClass(each, "one" if output.dim() == 1 else self.average, self.defined, ignore)

    def each(self, output: Tensor, ignore: int | None) -> Meter:
        """Return the meter of each class, or of class 1 for one logit."""
        raise TypeError(f"{type(self).__name__} has no each()")

    def defined(self, targets: Tensor, predicted: Tensor) -> Tensor:
        """Whether the metric is defined for each class; by default for those among targets or predictions."""
        return (targets + predicted) > 0


class _Averaged(_PerClass):
    ranks: ClassVar[bool] = True
    average: Averaged = Field("macro", description="mean over classes; micro: over examples; weighted: by examples")

    def each(self, output: Tensor, ignore: int | None) -> Meter:
        one = output.dim() == 1
        return _Scores(self, one, 2 if one else output.shape[1], ignore)

    def ratio(self, hits: Tensor, taken: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator from the counts of hits, predictions and targets of a class."""
        raise TypeError(f"{type(self).__name__} has no ratio()")

    def counted(self, table: Tensor, ignore: int | None) -> Tensor:
        """Return the predictions of the confusion matrix that `micro` counts."""
        return table

    def label_meter(self, thresholds: Tensor) -> Meter:
        return LabelCounts(self.ratio, self.defined, self.average, thresholds)


class Precision(_Averaged):
    """Fraction of the examples predicted to be of a class that are of it. torchmetrics: Precision."""

    kind: ClassVar[str] = "precision"

    def ratio(self, hits: Tensor, taken: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        return hits, taken


class Recall(_Averaged):
    """Fraction of the examples of a class that are predicted to be of it. torchmetrics: Recall.

    A class that no target has is left out of the mean, and said.
    """

    kind: ClassVar[str] = "recall"

    def defined(self, targets: Tensor, predicted: Tensor) -> Tensor:
        return targets > 0

    def ratio(self, hits: Tensor, taken: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        return hits, true


class F1(_Averaged):
    """The harmonic mean of precision and recall: 2 hits / (2 hits + misses + false alarms). torchmetrics: F1Score."""

    kind: ClassVar[str] = "f1"

    def ratio(self, hits: Tensor, taken: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        return 2.0 * hits, 2.0 * hits + 1.0 * (true - hits) + (taken - hits)


class IoU(_Averaged):
    """Intersection over union of predicted and true positions of a class. torchmetrics: JaccardIndex."""

    kind: ClassVar[str] = "iou"

    def ratio(self, hits: Tensor, taken: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        return hits, taken + true - hits

    def counted(self, table: Tensor, ignore: int | None) -> Tensor:
        """Leave out predictions of the ignored class."""
        table = table.clone()
        if ignore is not None and 0 <= ignore < len(table):
            table[:, ignore] = 0
        return table


class _UnderCurve(_PerClass):
    """Base class of areas under a curve over all thresholds. They keep the probabilities of the whole part."""

    area: ClassVar[Any]
    average: Literal["macro", "weighted"] = Field("macro", description="mean over classes, plain or by examples")

    def defined(self, targets: Tensor, predicted: Tensor) -> Tensor:
        return (targets > 0) & (targets < targets.sum(0))

    def each(self, output: Tensor, ignore: int | None) -> Meter:
        return _Ranking(type(self).area, ignore)

    def label_meter(self, thresholds: Tensor) -> Meter:
        return LabelAreas(type(self).area, self.defined, self.average)


class AUROC(_UnderCurve):
    """Probability that an example of a class gets a larger probability of it than one of another class.

    It keeps the probabilities of the whole part. A class that no target has, or that all have, is left out of the
    mean, and said. torchmetrics: AUROC.
    """

    kind: ClassVar[str] = "auroc"
    area: ClassVar[Any] = staticmethod(roc_area)


class AUPRC(_UnderCurve):
    """Area under precision over recall of a class, as average precision: the sum of precision times gain in recall.

    It keeps the probabilities of the whole part. A class that no target has, or that all have, is left out of the
    mean, and said. scikit-learn: average_precision_score. torchmetrics: AveragePrecision.
    """

    kind: ClassVar[str] = "auprc"
    area: ClassVar[Any] = staticmethod(average_precision)


class CalibrationError(Metric):
    """Difference between confidence and accuracy over bins of confidence: mean, root mean square, or largest.

    torchmetrics: CalibrationError. Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """

    kind: ClassVar[str] = "calibration_error"
    mode: ClassVar[Mode] = "min"
    n_bins: PositiveInt = Field(15, le=1_000_000, description="bins of confidence, of equal width")
    norm: Literal["l1", "l2", "max"] = Field("l1", description="mean gap, root of the mean square, or largest gap")

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Calibration(self, ignore)
