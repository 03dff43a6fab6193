"""What is measured beside the loss, where a spec asks for it: `metrics: [f1, auroc]` under the objective.

All of it happens at evaluation, batch by batch on the device. torchmetrics is the implementation where it has one;
it is imported when a network is evaluated, which takes some seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import Field, PositiveInt

from .lazy import F, torch
from .registry import Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

METRICS: Registry[Metric] = Registry("metric", "dlx.metrics", "dlx.metrics")
Averaged = Literal["macro", "micro", "weighted"]


class Meter(Protocol):
    """Takes batches, and says in the end what they came to."""

    def update(self, output: Tensor, target: Tensor, /) -> None:
        """One batch: logits (N, classes, *size) or (N,) and class numbers, or predictions and values."""

    def compute(self) -> Tensor:
        """The metric of all batches."""


@family(METRICS)
class Metric(Declared):
    """The root of all metrics."""

    wants: ClassVar[Literal["classes", "values"]] = "classes"
    binary: ClassVar[bool] = True
    """Whether it takes a single logit."""

    @property
    def name(self) -> str:
        """What it is called in the results."""
        return self.kind

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        """For outputs like this first batch; targets of class number `ignore` do not count."""
        raise TypeError(f"{type(self).__name__} has no meter()")


# --- counted here ---------------------------------------------------------------------------------------------------


class Mean:
    """The mean of values that come in batches, each value counted as often as it says."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0
        self.count: Tensor | float = 0.0

    def add(self, mean: Tensor, count: Tensor | float) -> None:
        self.sum, self.count = self.sum + mean * count, self.count + count

    def compute(self) -> Tensor:
        return torch.as_tensor(self.sum / self.count)


class _Each(Mean):
    """The mean of a function of each logits and target."""

    def __init__(self, function: Any, ignore: int | None) -> None:
        super().__init__()
        self.function, self.ignore = function, ignore

    def update(self, output: Tensor, target: Tensor) -> None:
        output, target = output.movedim(1, -1).reshape(-1, output.shape[1]), target.reshape(-1)
        if self.ignore is not None:
            output, target = output[target != self.ignore], target[target != self.ignore]
        self.sum, self.count = self.sum + self.function(output, target).sum(), self.count + len(target)


class TopKError(Metric):
    """The share of targets that are not among the k classes with the largest logits: `top_5_error`.

    Source: Russakovsky et al. 2015, arXiv:1409.0575, section 4.
    """

    kind: ClassVar[str] = "top_k_error"
    binary: ClassVar[bool] = False
    k: PositiveInt = Field(5, description="how many guesses")

    @property
    def name(self) -> str:
        return f"top_{self.k}_error"

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        k = min(self.k, output.shape[1])
        return _Each(lambda x, y: (x.topk(k).indices != y[:, None]).all(1).float(), ignore)


class Perplexity(Metric):
    """exp of the mean cross-entropy: how many equally likely classes would be as surprising. 1 is perfect."""

    kind: ClassVar[str] = "perplexity"
    binary: ClassVar[bool] = False

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Exp(lambda x, y: F.cross_entropy(x, y, reduction="none"), ignore)


class _Exp(_Each):
    def compute(self) -> Tensor:
        return super().compute().exp()


# --- counted by torchmetrics ----------------------------------------------------------------------------------------


class _Guest:
    """A metric of torchmetrics on probabilities, or on values of one row an example."""

    def __init__(self, metric: Any, classes: bool) -> None:
        self.metric, self.classes = metric, classes

    def update(self, output: Tensor, target: Tensor) -> None:
        if not self.classes:
            self.metric.update(output.flatten(1).squeeze(1), target.flatten(1).squeeze(1))
        else:
            self.metric.update(output.sigmoid() if output.dim() == 1 else output.softmax(1), target)

    def compute(self) -> Tensor:
        found: Tensor = self.metric.compute()
        return found


class _Classes(Metric):
    """A metric that torchmetrics has for two classes and for several."""

    torch_name: ClassVar[str]

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        guest = importlib.import_module("torchmetrics.classification")
        options: dict[str, Any] = {"ignore_index": ignore, "validate_args": False}
        if output.dim() == 1:
            options |= {name: value for name, value in self.options() if name != "average"}
            metric = getattr(guest, f"Binary{self.torch_name}")(**options)
        else:
            options |= {**dict(self.options()), "num_classes": output.shape[1]}
            metric = getattr(guest, f"Multiclass{self.torch_name}")(**options)
        return _Guest(metric.to(output.device), True)

    def options(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in type(self).model_fields]


class _Averaged(_Classes):
    average: Averaged = Field("macro", description="mean over classes; micro: over examples; weighted: by examples")


class Precision(_Averaged):
    """Of the examples given to a class, the share that belongs there. torchmetrics: Precision."""

    kind: ClassVar[str] = "precision"
    torch_name: ClassVar[str] = "Precision"


class Recall(_Averaged):
    """Of the examples of a class, the share that is given to it. torchmetrics: Recall."""

    kind: ClassVar[str] = "recall"
    torch_name: ClassVar[str] = "Recall"


class F1(_Averaged):
    """The harmonic mean of precision and recall: 2 hits / (2 hits + misses + false alarms). torchmetrics: F1Score."""

    kind: ClassVar[str] = "f1"
    torch_name: ClassVar[str] = "F1Score"


class IoU(_Averaged):
    """Intersection over union of where a class is said and where it is. torchmetrics: JaccardIndex."""

    kind: ClassVar[str] = "iou"
    torch_name: ClassVar[str] = "JaccardIndex"


class AUROC(_Classes):
    """How likely an example of a class has a larger probability of it than one of another class.

    It keeps the probabilities of the whole part. A class that no target has counts as 0, with a warning.
    torchmetrics: AUROC.
    """

    kind: ClassVar[str] = "auroc"
    torch_name: ClassVar[str] = "AUROC"
    average: Literal["macro", "weighted"] = Field("macro", description="mean over classes, plain or by examples")


class CalibrationError(_Classes):
    """How far confidence and accuracy are apart, over bins of confidence: the mean gap, its square root, its largest.

    torchmetrics: CalibrationError. Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """

    kind: ClassVar[str] = "calibration_error"
    torch_name: ClassVar[str] = "CalibrationError"
    n_bins: PositiveInt = Field(15, description="bins of confidence, of equal width")
    norm: Literal["l1", "l2", "max"] = Field("l1", description="mean gap, root of the mean square, or largest gap")


class R2(Metric):
    """1 - squared error / variance of the targets: 1 is perfect, 0 what their mean would do. torchmetrics: R2Score.

    Several values of a target are averaged.
    """

    kind: ClassVar[str] = "r2"
    wants: ClassVar[Literal["classes", "values"]] = "values"

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        metric = importlib.import_module("torchmetrics").R2Score()
        return _Guest(metric.to(output.device), False)
