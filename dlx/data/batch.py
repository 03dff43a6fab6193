"""A batch: named tensors of some examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class FieldNames(NamedTuple):
    """Names of the fields of a batch that one network takes and learns."""

    inputs: tuple[str, ...] = ("input",)
    """Fields that the network takes, in the order of its inputs."""
    targets: tuple[str, ...] = ("target",)
    """Fields that are learned, in the order of the data."""


ONE_EACH = FieldNames()


@dataclass(frozen=True)
class Batch:
    """Tensors by field name, with the batch on the first axis, on the device of the training.

    `batch["price"]` is a field of any role: an input, a target, the weights of the examples. `inputs` are the tensors
    of the one network in its own order, so that `network(*batch.inputs)` calls it; `y` is the first target.
    """

    fields: Mapping[str, Any]
    carried: dict[str, Tensor] = field(default_factory=dict)
    """States for the next batch of the feed, by field name."""
    names: FieldNames = ONE_EACH
    known: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What `once` has found. It is no argument: a batch of changed examples that `replace` makes knows nothing."""

    def __getitem__(self, name: str) -> Tensor:
        found: Tensor = self.fields[name]
        return found

    def __len__(self) -> int:
        """Number of examples."""
        return len(next(iter(self.fields.values()), ()))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the network, in its order."""
        return tuple([self.fields[name] for name in self.names.inputs])

    @property
    def y(self) -> Any:
        """The first target; `Mixed` where augmentations mix."""
        return self.fields[self.names.targets[0]]

    def carry(self, name: str, value: Tensor) -> None:
        """Pass a state (N, ...) on to the feed's next batch, detached from the graph of gradients."""
        self.carried[name] = value.detach()

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """Return what depends on the examples alone, by its name; `find` is called where it is not known."""
        if name not in self.known:
            self.known[name] = find()
        return self.known[name]

    def knowing(self, known: dict[str, Any]) -> Batch:
        """Return the batch with what is known of the same examples from earlier, to which `once` adds."""
        object.__setattr__(self, "known", known)
        return self

    def pieces(self, size: int) -> list[Batch]:
        """Split the batch into batches of up to `size` examples."""
        if len(self) <= size:
            return [self]
        parts = {name: tensor.split(size) for name, tensor in self.fields.items()}
        count = len(next(iter(parts.values())))
        return [Batch({name: part[i] for name, part in parts.items()}, {}, self.names) for i in range(count)]
