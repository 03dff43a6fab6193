"""The protocol between data and training steps: the order of the examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .batch import Batch


class Chunks(Protocol):
    """A part of the data on the device, in its order."""

    def __len__(self) -> int: ...

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all fields of up to `size` examples."""


class Feed(ABC):
    """Yields the batches of a training.

    `state()` holds all that the next batch depends on: numbers, texts, tensors, and lists and mappings of these. It
    is saved between two steps, and `load()` restores it in a new feed, so that a resumed training gets the same
    batches.
    """

    epoch: int = 0
    """Number of passes over the training part that have begun."""

    @property
    @abstractmethod
    def batches(self) -> int | None:
        """Number of batches in an epoch; None where there are no epochs, so that the training needs `steps`."""

    @abstractmethod
    def next(self, phase: str) -> Batch:
        """Return the next batch for a phase of the objective."""

    @abstractmethod
    def evaluation(self, part: Chunks, size: int) -> Iterator[Batch]:
        """Yield a whole part in its order, in batches of up to `size` examples."""

    @abstractmethod
    def state(self) -> dict[str, Any]: ...

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None: ...
