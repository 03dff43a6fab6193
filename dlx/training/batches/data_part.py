"""One part of the data (train, valid or test) as tensors that batches are taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from ...data.batch import ONE_EACH, Batch, FieldNames
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
    """The fields of one part of the data, on the device.

    `x` is the main input, (examples, *shape), and `y` the first target; `more` has the other fields by name. A step
    gets all of them: `take` and `chunks` give batches.
    """

    x: Tensor
    y: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    names: FieldNames = field(default=ONE_EACH, kw_only=True)
    """Fields that the one network takes, `x` among them, and targets, of which `y` is the first."""
    at_once: int | None = field(default=None, kw_only=True)
    """Most examples of an evaluation at once, by what the network makes of them; None for all that are asked for."""
    evaluated: int | None = field(default=None, kw_only=True)
    """Examples that an evaluation takes, spread evenly over the part; None for all."""

    @property
    def main(self) -> str:
        """Name of the field `x`."""
        return next(name for name in self.names.inputs if name not in self.more)

    @cached_property
    def fields(self) -> dict[str, Tensor]:
        """The tensors of all fields by name."""
        first = dict(zip(self.names.targets[:1], (self.y,), strict=False))  # none of data without labels
        return {self.main: self.x, **first, **self.more}

    @cached_property
    def known(self) -> dict[tuple[int, int], dict[str, Any]]:
        """What is known of each batch of evaluations (`Batch.once`), by the size of batches and its place."""
        return {}

    def __len__(self) -> int:
        return len(self.x)

    @property
    def streams(self) -> bool:
        """Whether the part stays on disk and only batches reach the device."""
        return not isinstance(self.x, torch.Tensor)

    def batch(self, fields: Mapping[str, Any]) -> Batch:
        """Return tensors of some examples as a batch."""
        return Batch(fields, {}, self.names)

    def take(self, index: Tensor) -> Batch:
        """Return all fields of the examples `index`."""
        return self.batch({name: _rows(table, index) for name, table in self.fields.items()})

    def targets_of(self, index: Tensor) -> Batch:
        """Return all fields but the inputs of the examples `index`, as they lie: nothing is augmented."""
        names = [name for name in self.fields if name not in self.names.inputs]
        return self.batch({name: self.fields[name][index] for name in names})

    def some(self, index: Tensor) -> DataPart:
        """Return the examples `index` as a part of their own."""
        more = {name: table[index] for name, table in self.more.items()}
        return DataPart(self.x[index], self.y[index], more=more, names=self.names, at_once=self.at_once)

    def changed(self, **fields: Tensor) -> DataPart:
        """Return a copy with other tensors in some fields."""
        x, y = fields.pop(self.main, self.x), fields.pop(next(iter(self.names.targets), ""), self.y)
        return DataPart(x, y, more={**self.more, **fields}, names=self.names, at_once=self.at_once)

    def without(self, name: str) -> DataPart:
        """Return a copy without one of the fields `more`."""
        return replace(self, more={other: table for other, table in self.more.items() if other != name})

    def prefetch(self, indices: Tensor, size: int) -> None:
        """Announce that `indices` will be taken in this order, `size` at a time; a part on disk reads ahead."""

    def chunks(self, size: int) -> Iterator[Batch]:
        """Iterate over the part in order, up to `size` examples at a time."""
        size = self.evaluated_together(self.x.shape[1:], self.x.device, size)
        if self.evaluated is not None:
            return (self.take(piece.to(self.x.device)) for piece in self.pieces(size))
        tables = self.fields
        pieces = zip(*(torch.split(table, size) for table in tables.values()), strict=True)
        batches = (self.batch(dict(zip(tables, each, strict=True))) for each in pieces)
        return (one.knowing(self.known.setdefault((size, i), {})) for i, one in enumerate(batches))

    def evenly(self, count: int) -> DataPart:
        """Return the part as evaluations take `count` of its examples, or all where it has no more."""
        return replace(self, evaluated=count if count < len(self) else None)

    def pieces(self, size: int) -> Iterator[Tensor]:
        """Iterate over the examples that an evaluation takes, in their order, up to `size` at a time."""
        every, count = len(self), self.evaluated or len(self)
        return (torch.arange(i, min(i + size, count)) * every // count for i in range(0, count, size))

    def evaluated_together(self, shape: Sequence[int], device: Device, size: int) -> int:
        """Return how many examples of a shape, up to `size`, an evaluation takes at once."""
        return min(examples_at_once(shape, device, size), self.at_once or size)

    def answers(self, network: Callable[..., Any], size: int) -> Iterator[tuple[Any, Batch]]:
        """Iterate over the network's outputs and the batches, up to `size` examples at a time."""
        return ((network(*batch.inputs), batch) for batch in self.chunks(size))


def examples_at_once(shape: Sequence[int], device: Device, size: int) -> int:
    """Return how many examples of a shape, up to `size`, to evaluate at once: on a CPU as many as its cache holds."""
    return min(size, max(MIN_EXAMPLES, CACHE_BYTES // (4 * prod(shape) or 1))) if device.type == "cpu" else size


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return `table[index]`."""
    # index_select is several times as fast as indexing where rows are large, but its result is always contiguous: a
    # table in channels_last would lose its memory format, and convolutions after it would sum in another order
    return table.index_select(0, index) if table.is_contiguous() else table[index]
