"""Metrics of classes by torchmetrics, which is imported at the first batch: that takes some seconds."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..lazy import torch
from .base import Meter, Metric, Mode

if TYPE_CHECKING:
    from torch import Tensor

Averaged = Literal["macro", "micro", "weighted"]


class _Guest(Meter):
    """A metric of torchmetrics on probabilities."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def update(self, output: Tensor, target: Tensor) -> None:
        self.metric.update(output.sigmoid() if output.dim() == 1 else output.softmax(1), target)

    def compute(self) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of classes that are absent, which `note` tells
            found: Tensor = self.metric.compute()
        return found


Defined = Callable[["Tensor", "Tensor"], "Tensor"]
"""From how many targets each class has, and how often it is predicted, to whether its metric is defined."""


class _ByClass(_Guest):
    """The mean over the classes for which a metric is defined; of one logit the metric of class 1.

    torchmetrics counts an undefined one as 0.
    """

    def __init__(self, metric: Any, average: str, defined: Defined, ignore: int | None) -> None:
        super().__init__(metric)
        self.average, self.defined, self.ignore = average, defined, ignore
        self.counts: Tensor | None = None

    def update(self, output: Tensor, target: Tensor) -> None:
        super().update(output, target)
        classes = 2 if output.dim() == 1 else output.shape[1]
        predicted = (output > 0 if output.dim() == 1 else output.argmax(1)).reshape(-1).long()
        target = target.reshape(-1).long()
        if self.ignore is not None:
            predicted, target = predicted[target != self.ignore], target[target != self.ignore]
        counts = torch.stack([torch.bincount(one, minlength=classes) for one in (target, predicted)])
        self.counts = counts if self.counts is None else self.counts + counts

    def compute(self) -> Tensor:
        found = super().compute()
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
        defined, there = self._defined().tolist(), (self.counts[0] > 0).tolist()
        if self.average == "one" or not any(defined):
            lacking = [i for i, any_ in enumerate(there) if not any_]
            return "" if defined[-1] else f"undefined, for no target is of {_classes(lacking, names)}"
        if self.average == "weighted":
            return ""
        left = [i for i, one in enumerate(defined) if not one]
        return f"without {_classes(left, names)}, of which there is no target" if left else ""


def _classes(numbers: Sequence[int], names: Sequence[str]) -> str:
    """`class 2`, `classes cat, dog and 3 more`."""
    called = [names[i] if i < len(names) else str(i) for i in numbers]
    more = f" and {len(called) - MOST_NAMED} more" if len(called) > MOST_NAMED else ""
    return f"class{'es' if len(called) > 1 else ''} {', '.join(called[:MOST_NAMED])}{more}"


MOST_NAMED = 5
"""Classes that a note names."""


class _Classes(Metric):
    """A metric that torchmetrics has for two classes and for several."""

    torch_name: ClassVar[str]

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Guest(self._guest(output, ignore, dict(self.options())))

    def _guest(self, output: Tensor, ignore: int | None, options: dict[str, Any]) -> Any:
        module = importlib.import_module("torchmetrics.classification")
        one = output.dim() == 1
        options = {"ignore_index": ignore, "validate_args": False, **options}
        if one:
            options.pop("average", None)
        else:
            options["num_classes"] = output.shape[1]
        return getattr(module, f"{'Binary' if one else 'Multiclass'}{self.torch_name}")(**options).to(output.device)

    def options(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in type(self).model_fields]


class _PerClass(_Classes):
    """A metric of each class, and an average of them."""

    average: Averaged

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        if self.average == "micro" and output.dim() > 1:
            return super().meter(output, ignore)
        guest = self._guest(output, ignore, {**dict(self.options()), "average": "none"})
        return _ByClass(guest, "one" if output.dim() == 1 else self.average, self.defined, ignore)

    def defined(self, targets: Tensor, predicted: Tensor) -> Tensor:
        """For which classes it is defined: by default for those that are there or predicted."""
        return (targets + predicted) > 0


class _Averaged(_PerClass):
    ranks: ClassVar[bool] = True
    average: Averaged = Field("macro", description="mean over classes; micro: over examples; weighted: by examples")


class Precision(_Averaged):
    """Of the examples given to a class, the share that belongs there. torchmetrics: Precision."""

    kind: ClassVar[str] = "precision"
    torch_name: ClassVar[str] = "Precision"


class Recall(_Averaged):
    """Of the examples of a class, the share that is given to it. torchmetrics: Recall.

    A class that no target has is left out of the mean, and said.
    """

    kind: ClassVar[str] = "recall"
    torch_name: ClassVar[str] = "Recall"

    def defined(self, targets: Tensor, predicted: Tensor) -> Tensor:
        return targets > 0


class F1(_Averaged):
    """The harmonic mean of precision and recall: 2 hits / (2 hits + misses + false alarms). torchmetrics: F1Score."""

    kind: ClassVar[str] = "f1"
    torch_name: ClassVar[str] = "F1Score"


class IoU(_Averaged):
    """Intersection over union of where a class is said and where it is. torchmetrics: JaccardIndex."""

    kind: ClassVar[str] = "iou"
    torch_name: ClassVar[str] = "JaccardIndex"


class AUROC(_PerClass):
    """How likely an example of a class has a larger probability of it than one of another class.

    It keeps the probabilities of the whole part. A class that no target has, or that all have, is left out of the
    mean, and said. torchmetrics: AUROC.
    """

    kind: ClassVar[str] = "auroc"
    torch_name: ClassVar[str] = "AUROC"
    average: Literal["macro", "weighted"] = Field("macro", description="mean over classes, plain or by examples")

    def defined(self, targets: Tensor, predicted: Tensor) -> Tensor:
        return (targets > 0) & (targets < targets.sum())


class CalibrationError(_Classes):
    """How far confidence and accuracy are apart, over bins of confidence: the mean gap, its square root, its largest.

    torchmetrics: CalibrationError. Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """

    kind: ClassVar[str] = "calibration_error"
    mode: ClassVar[Mode] = "min"
    torch_name: ClassVar[str] = "CalibrationError"
    n_bins: PositiveInt = Field(15, description="bins of confidence, of equal width")
    norm: Literal["l1", "l2", "max"] = Field("l1", description="mean gap, root of the mean square, or largest gap")
