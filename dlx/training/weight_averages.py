"""Averages of the weights of a training in progress, which evaluations and checkpoints take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..averages import Average
from ..lazy import torch
from ..schedules import Timeline
from ..utils.torch_private import ForeachOps

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .fit import Job

STATISTICS_PREFIX = "running_"
"""Prefix of the names of a batch norm's statistics, `running_mean` and `running_var`."""


class WeightAverage:
    """Average of all trainable weights, shared ones once, and of the statistics of batch norms.

    Frozen weights and other buffers are not averaged: updates do not change them, or they describe the last batch.
    """

    def __init__(self, average: Average, network: nn.Module, span: Timeline) -> None:
        self.average, self.span, self.count = average, span, 0
        self.tensors: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.tensors += [b for name, b in network.named_buffers() if is_statistic(name, b)]
        self.means = [tensor.detach().clone() for tensor in self.tensors]
        self.lists = ForeachOps()

    def update(self, step: int) -> None:
        """Add the weights after `step` updates to the average, if the average counts that step."""
        share = self.average.share(step, self.count, self.span)
        if share is not None:
            with torch.no_grad():
                self.lists.lerp_(self.means, self.tensors, share)
            self.count += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the network within the context, and its own weights back after it."""
        own = [tensor.detach().clone() for tensor in self.tensors]
        self.apply()
        try:
            yield
        finally:
            _copy(self.tensors, own)

    def apply(self) -> None:
        """Put the average into the network; its own weights stay where no update has counted yet."""
        if self.count:
            _copy(self.tensors, self.means)

    def state(self) -> dict[str, Any]:
        """Return the average as tensors and the number of updates in it."""
        return {"count": self.count, "means": self.means}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.count = state["count"]
        _copy(self.means, state["means"])


def is_statistic(name: str, buffer: Tensor) -> bool:
    """Whether a buffer of a network is a statistic of a batch norm."""
    return name.rpartition(".")[2].startswith(STATISTICS_PREFIX) and buffer.is_floating_point()


def _copy(into: list[Tensor], values: list[Tensor]) -> None:
    """Copy values into tensors in place: optimizers and recorded steps hold their memory."""
    with torch.no_grad():
        for tensor, value in zip(into, values, strict=True):
            tensor.copy_(value)


def needs_new_statistics(job: Job) -> bool:
    """Whether to compute the statistics of batch norms anew at the end: as the spec says, else as the average needs.

    An average that no update has counted in needs nothing.
    """
    said, averages = job.train.recompute_statistics, job.learner.averages.values()
    return said if said is not None else any(one.count > 0 and one.average.renews for one in averages)


def recompute_if_needed(job: Job, batch: int) -> None:
    """Compute the statistics of batch norms over the training set, `batch` examples at a time, if needed."""
    if needs_new_statistics(job):
        from ..modules.norm import recompute_statistics

        part = job.parts["train"]
        recompute_statistics(job.network, lambda: (one.inputs for one in part.chunks(batch)))
        job.learner.set_training_mode()
