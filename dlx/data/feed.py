"""Which examples come next: the contract between the data and the steps of a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from .batch import Batch


class Chunks(Protocol):
    """A part of the data on the device, in its order."""

    def __len__(self) -> int: ...

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, up to `size` examples at a time."""


class Feed(ABC):
    """Gives the batches of a training, and goes on from where it was.

    `state()` is all that the next batch depends on: numbers, texts, tensors, and lists and mappings of these. It is
    taken between two steps, and `load()` brings a fresh feed there, so that a resumed run sees the same batches.
    """

    epoch: int = 0
    """Passes over the training part that have begun."""

    @property
    @abstractmethod
    def batches(self) -> int | None:
        """Batches in an epoch; None where there are no epochs, and a training lasts `steps`."""

    @abstractmethod
    def next(self, phase: str) -> Batch:
        """The next batch, for a phase of the objective."""

    @abstractmethod
    def evaluation(self, part: Chunks, size: int) -> Iterator[Batch]:
        """A whole part in its order, up to `size` examples at a time."""

    @abstractmethod
    def state(self) -> dict[str, Any]: ...

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None: ...
