"""A batch: named fields of some examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Fields by name, each a tensor with the batch first, on the device of the training."""

    fields: Mapping[str, Tensor]
    carried: dict[str, Tensor] = field(default_factory=dict)
    """States for the feed's next batch, by the name of their field."""

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def __len__(self) -> int:
        """The number of examples."""
        return len(next(iter(self.fields.values()), ()))

    def carry(self, name: str, value: Tensor) -> None:
        """Hand a state, (N, ...), to the feed's next batch; no gradient goes back through it."""
        self.carried[name] = value.detach()

    def pieces(self, size: int) -> list[Batch]:
        """The same examples, up to `size` at a time."""
        if len(self) <= size:
            return [self]
        parts = {
            name: tensor.split(size)  # type: ignore[no-untyped-call]
            for name, tensor in self.fields.items()
        }
        count = len(next(iter(parts.values())))
        return [Batch({name: part[i] for name, part in parts.items()}) for i in range(count)]
