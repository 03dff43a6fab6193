"""A batch: named tensors of some examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Tensors by field name, with the batch on the first axis, on the device of the training."""

    fields: Mapping[str, Tensor]
    carried: dict[str, Tensor] = field(default_factory=dict)
    """States for the next batch of the feed, by field name."""

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def __len__(self) -> int:
        """Number of examples."""
        return len(next(iter(self.fields.values()), ()))

    def carry(self, name: str, value: Tensor) -> None:
        """Pass a state (N, ...) on to the feed's next batch, detached from the graph of gradients."""
        self.carried[name] = value.detach()

    def pieces(self, size: int) -> list[Batch]:
        """Split the batch into batches of up to `size` examples."""
        if len(self) <= size:
            return [self]
        parts = {
            name: tensor.split(size)  # type: ignore[no-untyped-call]
            for name, tensor in self.fields.items()
        }
        count = len(next(iter(parts.values())))
        return [Batch({name: part[i] for name, part in parts.items()}) for i in range(count)]
