"""What is measured beside the loss, where a spec asks for it: `metrics: [f1, auroc]` under the objective.

All of it happens at evaluation, batch by batch on the device. torchmetrics is the implementation where it has one;
it is imported when a network is evaluated, which takes some seconds.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, NonNegativeFloat, PositiveInt

from .lazy import F, torch
from .registry import Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

METRICS: Registry[Metric] = Registry("metric", "dlx.metrics", "dlx.metrics")
Averaged = Literal["macro", "micro", "weighted"]
Mode = Literal["min", "max"]
Followed = Annotated[str, Field(pattern=r"^valid/.+$")]
FOLLOWED = "valid/NAME, of the part that is evaluated on the way"
RUNNING_LOSS = "train/running_loss"
"""The mean of the losses that training minimises, with all terms, since the point of the curve before."""


class Meter(Protocol):
    """Takes batches, and says in the end what they came to."""

    def update(self, output: Tensor, target: Tensor, /) -> None:
        """One batch: logits (N, classes, *size) or (N,) and class numbers, or predictions and values."""

    def compute(self) -> Tensor:
        """The metric of all batches."""

    def note(self, names: Sequence[str]) -> str:
        """What it leaves out, by the names of the classes; empty where that is nothing."""
        return ""


@family(METRICS)
class Metric(Declared):
    """The root of all metrics."""

    wants: ClassVar[Literal["classes", "values", "boxes"]] = "classes"
    binary: ClassVar[bool] = True
    """Whether it takes a single logit."""
    mode: ClassVar[Mode] = "max"
    """What is better: less of it, or more."""
    table: ClassVar[bool] = False
    """Whether it is a table, which stands beside the numbers."""
    ranks: ClassVar[bool] = False
    """Whether all it wants to know is which classes come first, and not how probable they are."""

    @property
    def name(self) -> str:
        """What it is called in the results."""
        return self.kind

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        """For outputs like this first batch; targets of class number `ignore` do not count."""
        raise TypeError(f"{type(self).__name__} has no meter()")


# --- counted here ---------------------------------------------------------------------------------------------------


class Mean:
    """The mean of values that come in batches, each value counted as often as it says; summed in float64."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0
        self.count: Tensor | float = 0.0

    def add(self, mean: Tensor, count: Tensor | float) -> None:
        self.sum, self.count = self.sum + mean.double() * count, self.count + count

    def compute(self) -> Tensor:
        return torch.as_tensor(self.sum / self.count)


class _Each(Mean, Meter):
    """The mean of a function of each logits and target."""

    def __init__(self, function: Any, ignore: int | None) -> None:
        super().__init__()
        self.function, self.ignore = function, ignore

    def update(self, output: Tensor, target: Tensor) -> None:
        output, target = output.movedim(1, -1).reshape(-1, output.shape[1]), target.reshape(-1)
        if self.ignore is not None:
            output, target = output[target != self.ignore], target[target != self.ignore]
        self.sum, self.count = self.sum + self.function(output, target).double().sum(), self.count + len(target)


class TopKError(Metric):
    """The share of targets that are not among the k classes with the largest logits: `top_5_error`.

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

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        k = min(self.k, output.shape[1])
        return _Each(lambda x, y: (x.topk(k).indices != y[:, None]).all(1).float(), ignore)


class Perplexity(Metric):
    """exp of the mean cross-entropy: how many equally likely classes would be as surprising. 1 is perfect."""

    kind: ClassVar[str] = "perplexity"
    mode: ClassVar[Mode] = "min"
    binary: ClassVar[bool] = False

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Exp(lambda x, y: F.cross_entropy(x, y, reduction="none"), ignore)


class _Exp(_Each):
    def compute(self) -> Tensor:
        return super().compute().exp()


class ConfusionMatrix(Metric):
    """How many targets of each class, by row, were taken for each class, by column: a table, not a number.

    At the end of a training that of each part of the data is written to the run as `confusion.json`, and the last one
    is shown. torchmetrics: ConfusionMatrix.
    """

    kind: ClassVar[str] = "confusion_matrix"
    table: ClassVar[bool] = True
    ranks: ClassVar[bool] = True

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Counts(2 if output.dim() == 1 else output.shape[1], ignore)


class _Counts(Meter):
    def __init__(self, classes: int, ignore: int | None) -> None:
        self.classes, self.ignore = classes, ignore
        self.counts: Tensor | None = None

    def update(self, output: Tensor, target: Tensor) -> None:
        said, meant = (output > 0 if output.dim() == 1 else output.argmax(1)).reshape(-1), target.reshape(-1)
        if self.ignore is not None:
            said, meant = said[meant != self.ignore], meant[meant != self.ignore]
        found = torch.bincount(meant.long() * self.classes + said.long(), minlength=self.classes**2)
        self.counts = found if self.counts is None else self.counts + found

    def compute(self) -> Tensor:
        assert self.counts is not None
        return self.counts.reshape(self.classes, self.classes)


# --- counted by torchmetrics ----------------------------------------------------------------------------------------


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


class R2(Metric):
    """1 - squared error / variance of the targets: 1 is perfect, 0 what their mean would do.

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
        self.around: Tensor | float = 0.0
        """The sum of squared distances of the targets from their mean, by value."""
        self.error: Tensor | float = 0.0

    def update(self, output: Tensor, target: Tensor) -> None:
        output, target = output.flatten(1).double(), target.flatten(1).double()
        n, mean = len(target), target.mean(0)
        away, total = mean - self.mean, self.count + n
        self.around = self.around + (target - mean).square().sum(0) + away.square() * (self.count * n / total)
        self.mean = self.mean + away * (n / total)
        self.error = self.error + (output - target).square().sum(0)
        self.count = total

    def compute(self) -> Tensor:
        if self.count < 2:
            return torch.tensor(torch.nan)
        around, error = torch.as_tensor(self.around), torch.as_tensor(self.error)
        constant = (error == 0).to(error.dtype)
        return torch.where(around > 0, 1 - error / around, constant).mean()

    def note(self, names: Sequence[str]) -> str:
        return "undefined, for there is a single example" if self.count < 2 else ""


# --- of maps of places and of boxes, counted here -------------------------------------------------------------------


class JointDistance(Metric):
    """How far the largest value of each heat map is from where the target has its largest, in pixels, on average.

    Outputs and targets (N, joints, height, width).
    """

    kind: ClassVar[str] = "joint_distance"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "values"
    mode: ClassVar[Mode] = "min"

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _OfPeaks(lambda distance: distance)


class PCK(Metric):
    """The share of joints whose heat map has its largest value near that of the target: of correct keypoints.

    Outputs and targets (N, joints, height, width). Source: Yang & Ramanan 2013, Articulated human detection with
    flexible mixtures of parts, section 6.2, where nearness is a part of the body's size.
    """

    kind: ClassVar[str] = "pck"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "values"
    within: NonNegativeFloat = Field(2.0, description="largest distance that counts as near, in pixels")

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _OfPeaks(lambda distance: (distance <= self.within).float())


class _OfPeaks(Mean, Meter):
    """The mean of a function of the distances between the peaks of maps."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def update(self, output: Tensor, target: Tensor) -> None:
        width = target.shape[-1]
        places = [torch.stack([at // width, at % width]) for at in (t.flatten(2).argmax(2) for t in (output, target))]
        distance = (places[0] - places[1]).float().square().sum(0).sqrt()
        self.add(self.function(distance).mean(), distance.numel())


class AveragePrecision(Metric):
    """The mean over classes of the area under precision over recall, of boxes that are found.

    Each box has the class that its cell is surest of, and the product of both confidences. A box counts as found
    where it overlaps a true one of its class, not yet found, by `iou`. Of boxes of a class that overlap by more than
    `suppress` the surest is kept. Classes that no picture has are left out.
    Source: Everingham et al. 2015, The Pascal visual object classes challenge: a retrospective, section 3.2; Redmon
    et al. 2016, arXiv:1506.02640, equation 1.
    """

    kind: ClassVar[str] = "average_precision"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "boxes"
    iou: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="overlap of a box that is found")
    suppress: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="overlap of two boxes of one thing")
    least: float = Field(0.01, description="confidence below which a box is left out")

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Boxes(self)


class _Boxes(Meter):
    """Gathers boxes of pictures: number of the picture, class, score, corners."""

    def __init__(self, metric: AveragePrecision) -> None:
        self.metric, self.pictures = metric, 0
        self.said: list[Tensor] = []
        self.so: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        from .modules import boxes

        answer, truth = boxes.said(output, (output.shape[1] - target.shape[1]) // 5 + 1), boxes.so(target)
        surest, classes = answer.classes.max(1, keepdim=True)
        scores = answer.confidence * surest
        corners, kinds = answer.corners.flatten(1, 3), classes.expand_as(scores).flatten(1)
        scores = scores.flatten(1)
        out = boxes.suppressed(corners, kinds, scores, self.metric.suppress)
        self._list(self.said, corners, kinds, scores, (scores > self.metric.least) & ~out)
        there = truth.confidence.flatten(1)
        self._list(self.so, truth.corners.flatten(1, 3), truth.classes.argmax(1).flatten(1), there, there > 0)
        self.pictures += len(output)

    def _list(self, kept: list[Tensor], corners: Tensor, kinds: Tensor, scores: Tensor, which: Tensor) -> None:
        """Boxes as rows: picture, class, score, corners, in double precision."""
        picture = torch.arange(len(which), device=which.device)[:, None].expand_as(which) + self.pictures
        rows = [part[which][:, None] for part in (picture, kinds, scores)]
        kept.append(torch.cat([row.double() for row in (*rows, corners[which])], 1).cpu())

    def compute(self) -> Tensor:
        from .modules import boxes

        said, so = torch.cat(self.said), torch.cat(self.so)
        said = said[said[:, 2].argsort(descending=True, stable=True)]
        each = []
        for one in sorted(set(so[:, 1].tolist())):
            mine, true = said[said[:, 1] == one], so[so[:, 1] == one]
            right = boxes.hits(mine[:, 0], mine[:, 3:], true[:, 0], true[:, 3:], self.metric.iou)
            each.append(boxes.average_precision(right, len(true)))
        return torch.tensor(each, dtype=torch.float64).mean() if each else torch.tensor(torch.nan)

    def note(self, names: Sequence[str]) -> str:
        return "" if any(map(len, self.so)) else "undefined, for no picture has a box"
