"""Feed of independent examples: shuffled anew in each epoch, always in the same order, or drawn by weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...data.batch import Batch
from ...data.feed import Chunks, Feed
from ...lazy import torch
from ...objectives import Objective
from ...spec import Train
from .bootstrap import bootstrap_indices
from .data_part import DataPart
from .permutation import Permutation
from .sampling import draw, example_weights, without_loss_weights
from .windows import CarriedPart, Streams, WindowPart

if TYPE_CHECKING:
    from torch import Tensor

MANY = 2**20
"""Windows of a text above which their order is computed place by place, and not held in memory."""


class Examples(Feed):
    """Independent examples of `part`: `begin` an epoch, take rows of indices, `end` it.

    The order, or what is drawn by weights, comes from a generator of its own, so that it does not depend on what the
    network draws (dropout). `objective` says which target has the classes that `sampling: balanced` is about.
    """

    def __init__(self, part: DataPart, train: Train, objective: Objective) -> None:
        self.part, self.train = without_loss_weights(part, train), train
        self.rng = torch.Generator().manual_seed(train.seed)
        self.bootstrap_indices: Tensor | None = bootstrap_indices(len(part), train.seed) if train.bootstrap else None
        """Indices of a bootstrap sample of the part, where the spec asks for one."""
        self.weights = example_weights(part, train, objective, self.bootstrap_indices)
        """Weights by which examples are drawn with replacement, where the spec asks for that."""
        self.position = 0
        """Updates done in this epoch."""
        self.rng_at_epoch_start: Tensor | None = None
        """State of `rng` before this epoch's order was drawn: a checkpoint keeps it to draw the same order again."""
        self.order: Tensor | Streams | Permutation | None = None
        """Indices of this epoch's examples in the order of the updates."""
        self.size = self.updates = 0
        """Examples in an update, and updates in this epoch."""

    @property
    def batches(self) -> int:
        return self.train.updates(len(self.part))

    @property
    def remaining(self) -> int:
        """Updates left in this epoch."""
        return self.updates - self.position

    def begin(self) -> None:
        """Begin the next epoch, or draw the order of a resumed one again."""
        # position > 0 here means that a checkpoint from within this epoch was loaded: epoch and generator are already
        # those of its start, and drawing the order again moves the generator to where it was
        if self.position == 0:
            self.epoch += 1
            self.rng_at_epoch_start = self.rng.get_state()
        part, epoch, n = self.part, max(0, self.epoch - 1), len(self.part)
        self.size, self.updates = self.train.per_update(n, epoch), self.train.updates(n, epoch)
        if isinstance(part, CarriedPart):
            self.order = part.streams_of
            return
        if isinstance(part, WindowPart) and n > MANY and self.train.shuffle and self._each_once:
            self.order = Permutation.draw(n, self.rng)
            return
        order = self._order(n)
        order = order if self.bootstrap_indices is None else self.bootstrap_indices[order]
        self.order = order.to(part.x.device)[: self.size * self.updates]
        # with accumulation an update is taken in pieces of batch_size, and it is pieces that are read ahead
        each = self.size if self.train.accumulate == 1 else self.train.batch(n)
        part.prefetch(self.order[self.position * self.size :], each)

    @property
    def _each_once(self) -> bool:
        """Whether an epoch has each example once."""
        return self.weights is None and self.bootstrap_indices is None

    def _order(self, count: int) -> Tensor:
        """Return the indices of the next epoch, (count,), on the host."""
        if self.weights is not None:
            return draw(self.weights, count, self.rng)
        return torch.randperm(count, generator=self.rng) if self.train.shuffle else torch.arange(count)

    def end(self) -> None:
        """End the epoch if all of its updates are done."""
        if self.position == self.updates:
            self.position = 0

    def next_indices(self, count: int) -> Tensor:
        """Return the indices of the next updates, at most `count`, of this epoch: (updates, examples).

        The last update of an epoch may have fewer examples, and is then returned alone: rows have one length.
        """
        assert self.order is not None
        begin, end = self.position * self.size, (self.position + count) * self.size
        examples = self.order[begin : min(end, self.size * self.updates)]
        if len(examples) < count * self.size and count > 1:
            count -= 1
            examples = examples[: count * self.size]
        return examples.view(count, -1)

    def next(self, phase: str) -> Batch:
        return self.batch(self.next_index(phase))

    def next_index(self, phase: str) -> Tensor:
        """Return the indices of the examples of the next batch for a phase."""
        self.begin_when_due()
        index: Tensor = self.next_indices(1)[0]
        self.position += 1
        return index

    def begin_when_due(self) -> None:
        """Begin the next epoch where the batches of this one are taken."""
        if self.order is None:
            self.begin()
        if self.position == self.updates:
            self.end()
            self.begin()

    @property
    def whole_batches(self) -> int:
        """Batches of the full size that are left in this epoch."""
        return max(0, min(self.updates, len(self.part) // self.size) - self.position)

    def batch(self, index: Tensor) -> Batch:
        """Return the examples `index` as a batch of all fields."""
        return self.part.take(index)

    def evaluation(self, part: Chunks, size: int) -> Iterator[Batch]:
        return part.chunks(size)

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "position": self.position,
            "order": self.rng_at_epoch_start if self.rng_at_epoch_start is not None else self.rng.get_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]
        self.rng_at_epoch_start, self.order = state["order"], None
        self.rng.set_state(state["order"])
