"""A loaded data set as the parts that a training takes batches from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...data import Sets, Split
from ...lazy import torch
from .data_part import DataPart
from .prefetch import streamed

if TYPE_CHECKING:
    from torch import device as Device


def on_device(sets: Sets, device: Device) -> dict[str, DataPart]:
    """Return the non-empty parts of a data set by name, as tensors on `device`; those on disk stay there."""
    splits: dict[str, Split | None] = {"train": sets.train, "valid": sets.valid, "test": sets.test}
    return {name: _part(split, device) for name, split in splits.items() if split is not None and len(split)}


def _part(split: Split, device: Device) -> DataPart:
    if split.streams:
        return streamed(split, device)
    return DataPart(torch.from_numpy(split.x).to(device), torch.from_numpy(split.y).to(device))
