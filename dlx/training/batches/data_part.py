"""A part of a data set where training takes its examples from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

CACHED = 2**20
"""Bytes of examples: a forward pass of a LeNet on 256 at once takes two thirds of the time that it takes on 1,024."""
FEW = 64


@dataclass(frozen=True)
class DataPart:
    """One part of the data on the device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @property
    def streams(self) -> bool:
        """Whether batches alone are on the device, and the rest on disk."""
        return not isinstance(self.x, torch.Tensor)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Some examples, by number."""
        return _rows(self.x, index), _rows(self.y, index)

    def expect(self, drawn: Tensor, size: int) -> None:
        """These will be taken, `size` at a time: what has to be fetched may be fetched ahead."""

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All of it in its order, up to `size` examples at a time."""
        size = examples_at_once(self.x.shape[1:], self.x.device, size)
        return zip(torch.split(self.x, size), torch.split(self.y, size), strict=True)

    def answers(self, network: Callable[[Tensor], Any], size: int) -> Iterator[tuple[Any, Tensor]]:
        """What a network says of all of it, beside the targets, `size` examples at a time."""
        return ((network(x), y) for x, y in self.chunks(size))


def examples_at_once(shape: Sequence[int], device: Device, size: int) -> int:
    """How many examples of a shape, up to `size`, are quickest at once: on a CPU those that stay in its cache."""
    return min(size, max(FEW, CACHED // (4 * prod(shape) or 1))) if device.type == "cpu" else size


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """`table[index]`: the operation for just this is several times as quick where rows are large."""
    # channels that come last would not stay there
    return table.index_select(0, index) if table.is_contiguous() else table[index]
