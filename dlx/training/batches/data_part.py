"""One part of the data (train, valid or test) as tensors that batches are taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

CACHE_BYTES = 2**20
"""Bytes of examples evaluated at once on a CPU: a LeNet's forward pass over the same examples takes two thirds of the
time in batches of 256 that it takes in batches of 1,024."""
MIN_EXAMPLES = 64
"""Fewest examples evaluated at once, however large each is."""


@dataclass(frozen=True)
class DataPart:
    """Inputs `x`, (examples, *shape), and targets `y` of one part of the data, on the device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def streams(self) -> bool:
        """Whether the part stays on disk and only batches reach the device."""
        return not isinstance(self.x, torch.Tensor)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs and targets of the examples `index`."""
        return _rows(self.x, index), _rows(self.y, index)

    def prefetch(self, indices: Tensor, size: int) -> None:
        """Announce that `indices` will be taken in this order, `size` at a time; a part on disk reads ahead."""

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the part in order, up to `size` examples at a time."""
        size = examples_at_once(self.x.shape[1:], self.x.device, size)
        return zip(torch.split(self.x, size), torch.split(self.y, size), strict=True)

    def answers(self, network: Callable[[Tensor], Any], size: int) -> Iterator[tuple[Any, Tensor]]:
        """Iterate over the network's outputs and the targets, up to `size` examples at a time."""
        return ((network(x), y) for x, y in self.chunks(size))


def examples_at_once(shape: Sequence[int], device: Device, size: int) -> int:
    """Return how many examples of a shape, up to `size`, to evaluate at once: on a CPU as many as its cache holds."""
    return min(size, max(MIN_EXAMPLES, CACHE_BYTES // (4 * prod(shape) or 1))) if device.type == "cpu" else size


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return `table[index]`."""
    # index_select is several times as fast as indexing where rows are large, but its result is always contiguous: a
    # table in channels_last would lose its memory format, and convolutions after it would sum in another order
    return table.index_select(0, index) if table.is_contiguous() else table[index]
