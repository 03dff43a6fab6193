"""The registry and the root of metrics, the protocol of their meters, and the running mean."""

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
"""The mean of the losses that training minimises, with all terms, since the point of the curve before."""


class Meter(Protocol):
    """Takes batches, and says in the end what they came to."""

    def update(self, output: Tensor, target: Tensor, /) -> None:
        """One batch: logits (N, classes, *size) or (N,) and class numbers, or predictions and values."""

    def compute(self) -> Tensor:
        """The metric of all batches."""

    def note(self, names: Sequence[str]) -> str:
        """A note on classes left out, by their `names`, or on why it is undefined; empty where neither applies."""
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


class Mean:
    """The mean of values that come in batches, each value counted as often as it says; summed in float64."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0
        self.count: Tensor | float = 0.0

    def add(self, mean: Tensor, count: Tensor | float) -> None:
        self.sum, self.count = self.sum + mean.double() * count, self.count + count

    def compute(self) -> Tensor:
        return torch.as_tensor(self.sum / self.count)
