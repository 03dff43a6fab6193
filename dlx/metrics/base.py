"""The base class of metrics, the protocol of the meters that accumulate them, and a running mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

from pydantic import Field

from ..lazy import torch
from ..registry import FAMILIES, Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

METRICS: Registry[Metric] = FAMILIES["metric"]
Mode = Literal["min", "max"]
MonitoredMetric = Annotated[str, Field(pattern=r"^valid/.+$")]
MONITORED_METRIC = "valid/NAME, of the part that is evaluated on the way"
RUNNING_LOSS = "train/running_loss"
"""Name of the mean training loss, with all its terms, since the last recorded point of the curve."""


class Meter(Protocol):
    """Accumulates a metric over the batches of an evaluation."""

    def update(self, output: Tensor, target: Tensor, /) -> None:
        """Add a batch: logits (N, classes, *size) or (N,) and class numbers; or predictions and values."""

    def compute(self) -> Tensor:
        """Return the metric over all batches so far."""

    def note(self, names: Sequence[str]) -> str:
        """Return a note on classes that were left out, by name, or on why the metric is undefined; empty for
        neither.
        """
        return ""


@family(METRICS)
class Metric(Declared):
    """Base class of all metrics.

    A subclass has a `kind`, pydantic fields, class attributes that say what it applies to, and `meter`. Defining the
    class registers it.
    """

    required = ("meter",)

    wants: ClassVar[Literal["classes", "values", "boxes"]] = "classes"
    """Type of the targets: class numbers, values, or boxes in a grid."""
    of_labels: ClassVar[bool] = False
    """Whether the metric also takes several labels an example, with targets (N, labels) of 0 and 1."""
    binary: ClassVar[bool] = True
    """Whether the metric takes a single logit per example."""
    mode: ClassVar[Mode] = "max"
    """Whether smaller ("min") or larger ("max") values are better."""
    table: ClassVar[bool] = False
    """Whether the result is a table and not a number."""
    ranks: ClassVar[bool] = False
    """Whether the metric depends on the order of the classes only, and not on their probabilities."""
    of_heat_maps: ClassVar[bool] = False
    """Whether outputs and targets are heat maps, whose peaks are joints."""

    @property
    def name(self) -> str:
        """Name in the results."""
        return self.kind

    def check(self, classes: int) -> str:
        """Return why the metric tells nothing of so many classes; empty where it does."""
        return ""

    def label_meter(self, thresholds: Tensor) -> Meter:
        """Return a new meter of several labels, which takes logits and targets (N, labels).

        Arguments:
            thresholds: probability of each label, (labels,), above which it is predicted.
        """
        raise TypeError(f"{type(self).__name__} has no label_meter()")

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        """Return a new meter.

        Arguments:
            output: outputs of the first batch, from which shapes follow.
            ignore: class number of targets that do not count; None where all count.
        """
        raise TypeError(f"{type(self).__name__} has no meter()")


class Mean:
    """Weighted mean of values that come in batches, accumulated in float64."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0
        self.count: Tensor | float = 0.0

    def add(self, mean: Tensor, count: Tensor | float) -> None:
        """Add a batch's mean, which is over `count` values."""
        self.sum, self.count = self.sum + mean.double() * count, self.count + count

    def compute(self) -> Tensor:
        """Return the mean over all batches so far."""
        return torch.as_tensor(self.sum / self.count)
