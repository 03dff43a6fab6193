"""The parts of a data set where training takes them from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..data import Sets, Split
from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device


@dataclass(frozen=True)
class Part:
    """One part of the data on the device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Some examples, by number."""
        return self.x[index], self.y[index]

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All of it in its order, `size` examples at a time."""
        return zip(torch.split(self.x, size), torch.split(self.y, size), strict=True)


def on_device(sets: Sets, device: Device) -> dict[str, Part]:
    """The parts of a data set as tensors."""
    given: dict[str, Split | None] = {"train": sets.train, "valid": sets.valid, "test": sets.test}
    return {
        name: Part(torch.from_numpy(split.x).to(device), torch.from_numpy(split.y).to(device))
        for name, split in given.items()
        if split is not None and len(split)
    }
