"""The examples of a part of the data, in a new order in each epoch or always in the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...data.batch import Batch
from ...data.feed import Chunks, Feed
from ...lazy import torch
from ...spec import Train
from .bootstrap import sample
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor


class Examples(Feed):
    """Independent examples of `part`, by number: `begin` an epoch, take rows of numbers, `end` it.

    The order is drawn from a generator of its own.
    """

    def __init__(self, part: DataPart, train: Train) -> None:
        self.part, self.train = part, train
        self.order = torch.Generator().manual_seed(train.seed)
        self.sample: Tensor | None = sample(len(part), train.seed) if train.bootstrap else None
        """Which example stands at each place of the training set, where it is a bootstrap of it."""
        self.position = 0
        """Updates done in this epoch."""
        self.began: Tensor | None = None
        """The generator of the order when this epoch began."""
        self.drawn: Tensor | None = None
        """The examples of this epoch in their order."""
        self.size = self.updates = 0
        """Examples in an update, and updates in this epoch."""

    @property
    def batches(self) -> int:
        return self.train.updates(len(self.part))

    @property
    def left(self) -> int:
        """Updates of this epoch that are to come."""
        return self.updates - self.position

    def begin(self) -> None:
        """Begin an epoch where the one before has ended, and draw its order."""
        if self.position == 0:
            self.epoch += 1
            self.began = self.order.get_state()
        part, epoch, n = self.part, max(0, self.epoch - 1), len(self.part)
        self.size, self.updates = self.train.per_update(n, epoch), self.train.updates(n, epoch)
        drawn = torch.randperm(n, generator=self.order) if self.train.shuffle else torch.arange(n)
        drawn = drawn if self.sample is None else self.sample[drawn]
        self.drawn = drawn.to(part.x.device)[: self.size * self.updates]
        each = self.size if self.train.accumulate == 1 else self.train.batch(n)
        part.expect(self.drawn[self.position * self.size :], each)

    def end(self) -> None:
        """End the epoch where all of its updates are done."""
        if self.position == self.updates:
            self.position = 0

    def numbers(self, count: int) -> Tensor:
        """The examples of the next updates of this epoch, by number: (updates, examples), at most `count` updates.

        The last update of an epoch may have fewer examples, and then comes alone.
        """
        assert self.drawn is not None
        examples = self.drawn[self.position * self.size : (self.position + count) * self.size]
        if len(examples) < count * self.size and count > 1:
            count -= 1
            examples = examples[: count * self.size]
        return examples.view(count, -1)

    def next(self, phase: str) -> Batch:
        if self.drawn is None:
            self.begin()
        if self.position == self.updates:
            self.end()
            self.begin()
        (index,) = self.numbers(1)
        self.position += 1
        return self.batch(index)

    def batch(self, index: Tensor) -> Batch:
        """Examples by number."""
        x, y = self.part.take(index)
        return Batch({"input": x, "target": y})

    def evaluation(self, part: Chunks, size: int) -> Iterator[Batch]:
        return (Batch({"input": x, "target": y}) for x, y in part.chunks(size))

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "position": self.position,
            "order": self.began if self.began is not None else self.order.get_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]
        self.began, self.drawn = state["order"], None
        self.order.set_state(state["order"])
