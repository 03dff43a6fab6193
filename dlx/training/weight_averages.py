"""The average of the weights of a training in progress: kept beside them, and lent to whoever judges them."""

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

STATISTICS = "running_"
"""What the names of a batch norm's statistics begin with."""


class Averaged:
    """Means of all weights that learn, each once however often it is shared, and of the statistics of batch norms.

    Frozen weights and other buffers do not move by updates, or belong to the moment: they are those of the network.
    """

    def __init__(self, average: Average, network: nn.Module, span: Timeline) -> None:
        self.average, self.span, self.count = average, span, 0
        self.moved: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.moved += [b for name, b in network.named_buffers() if _is_statistic(name, b)]
        self.means = [tensor.detach().clone() for tensor in self.moved]
        self.lists = ForeachOps()

    def follow(self, step: int) -> None:
        """Take in the weights after `step` updates, where they count."""
        share = self.average.share(step, self.count, self.span)
        if share is not None:
            with torch.no_grad():
                self.lists.lerp_(self.means, self.moved, share)
            self.count += 1

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The network has the average while it is judged, and its own weights again after that."""
        own = [tensor.detach().clone() for tensor in self.moved]
        self.stay()
        try:
            yield
        finally:
            _copy(self.moved, own)

    def stay(self) -> None:
        """The network has the average for good; its own weights, where no update counts yet."""
        if self.count:
            _copy(self.moved, self.means)

    def state(self) -> dict[str, Any]:
        """All it remembers."""
        return {"count": self.count, "means": self.means}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.count = state["count"]
        _copy(self.means, state["means"])


def _is_statistic(name: str, buffer: Tensor) -> bool:
    return name.rpartition(".")[2].startswith(STATISTICS) and buffer.is_floating_point()


def _copy(into: list[Tensor], values: list[Tensor]) -> None:
    """Values into tensors that stay where they are: optimizers and traces hold them."""
    with torch.no_grad():
        for tensor, value in zip(into, values, strict=True):
            tensor.copy_(value)


def renews(job: Job) -> bool:
    """Whether the statistics of batch norms are computed anew at the end: as the spec says, or as the average wants.

    An average that holds nothing yet wants nothing.
    """
    said, averages = job.train.recompute_statistics, job.learner.averages.values()
    return said if said is not None else any(one.count > 0 and one.average.renews for one in averages)


def renewed(job: Job, batch: int) -> None:
    """The statistics of batch norms over the training set, by `batch` examples, with the weights that there are."""
    if renews(job):
        from ..modules.norm import recompute_statistics

        part = job.parts["train"]
        recompute_statistics(job.network, lambda: (x for x, _ in part.chunks(batch)))
        job.network.train()
