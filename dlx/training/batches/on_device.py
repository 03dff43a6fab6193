"""A loaded data set as the parts that a training takes batches from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...data import Sets, Split
from ...data.batch import FieldNames
from ...data.text.windows import Windows
from ...lazy import torch
from .data_part import DataPart
from .prefetch import streamed
from .windows import WindowPart

if TYPE_CHECKING:
    from torch import device as Device


def on_device(
    sets: Sets, device: Device, taken: Sequence[str] = (), at_once: int | None = None
) -> dict[str, DataPart]:
    """Return the non-empty parts of a data set by name, as tensors on `device`; those on disk stay there.

    `taken` are the fields that the one network takes, in the order of its inputs; all inputs of the data by default.
    Ids stay on the host. `at_once` is the most examples of an evaluation at once.
    """
    splits: dict[str, Split | None] = {"train": sets.train, "valid": sets.valid, "test": sets.test}
    names, ids = FieldNames(tuple(taken) or sets.named("input"), sets.named("target")), sets.named("id")
    filled = {name: split for name, split in splits.items() if split is not None and len(split)}
    return {name: replace(_part(split, device, names, ids), at_once=at_once) for name, split in filled.items()}


def _part(split: Split, device: Device, names: FieldNames, ids: Sequence[str]) -> DataPart:
    x: object = split.x
    if isinstance(x, Windows):
        return WindowPart.of(split, device, names)
    if split.streams:
        return streamed(split, device, names, ids)
    more = {name: torch.from_numpy(array).to(device) for name, array in split.more.items() if name not in ids}
    return DataPart(
        torch.from_numpy(split.x).to(device), torch.from_numpy(split.y).to(device), more=more, names=names
    )
