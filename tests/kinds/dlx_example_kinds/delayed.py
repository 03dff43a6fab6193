"""Series whose targets are their own earlier values: nothing can be learned without a state that is carried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic
from pydantic import PositiveInt

from dlx.data import Dataset, Facts, Sets, Split
from dlx.data.base import Field
from dlx.data.batch import Batch
from dlx.data.feed import Chunks, Feed
from dlx.lazy import np, torch
from dlx.shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from dlx.spec import Train
    from dlx.training.batches.data_part import DataPart


class Delayed(Dataset):
    """Uniform noise in series of several lengths; each target is the input one moment before, 0 at the beginning.

    Fields: `input` (1,), `target` (1,), and `state` (size,), which is what the objective carried from the moment
    before, and zeros where a series begins.
    """

    kind: ClassVar[str] = "delayed"
    lengths: list[PositiveInt] = pydantic.Field([7, 12, 5, 9, 15], description="moments of each series, in turn")
    train: PositiveInt = pydantic.Field(240, description="moments of the training part")
    test: PositiveInt = pydantic.Field(60, description="moments of the test part")
    size: PositiveInt = pydantic.Field(8, description="values of the state")
    carry: bool = pydantic.Field(True, description="whether the state is carried, and not zeros at each moment")
    seed: int = pydantic.Field(0, description="of the noise")

    def facts(self) -> Facts:
        return Facts(Shape((1,)), target=Shape((1,)), more={"state": Field(Shape((self.size,)), "state")})

    def load(self) -> Sets:
        train, test = (self._part(n, i) for i, n in enumerate((self.train, self.test)))
        return Sets(train, None, test, digest=f"delayed {self.model_dump_json()}", source="drawn")

    def _part(self, count: int, number: int) -> Split:
        x = np.random.default_rng([self.seed, number]).uniform(-1, 1, (count, 1)).astype(np.float32)
        y = np.concatenate([np.zeros((1, 1), np.float32), x[:-1]])
        y[self.starts(count)] = 0
        return Split(x, y)

    def starts(self, count: int) -> list[int]:
        """The moments at which a series begins."""
        found, at = [], 0
        while at < count:
            found.append(at)
            at += self.lengths[(len(found) - 1) % len(self.lengths)]
        return found

    def feed(self, part: DataPart, train: Train) -> Feed:
        return Carried(self, part, train)


class Carried(Feed):
    """The part in `batch_size` pieces side by side, moment by moment; each series ends at a batch of its own."""

    def __init__(self, data: Delayed, part: DataPart, train: Train) -> None:
        self.data, self.part = data, part
        self.streams = train.batch(len(part))
        self.position = 0
        self.held = torch.zeros(self.streams, data.size)
        self.batch: Batch | None = None

    @property
    def batches(self) -> int:
        return len(self.part) // self.streams

    def next(self, phase: str) -> Batch:
        self._take_back()
        if self.position % self.batches == 0:
            self.epoch += 1
        at = self.position % self.batches
        self.batch = self._batch(self.part, at, self.batches, self.held)
        self.position += 1
        return self.batch

    def _take_back(self) -> None:
        """What the objective carried on from the batch before."""
        if self.batch is not None and self.data.carry:
            self.held = self.batch.carried.get("state", self.held)
        self.batch = None

    def _batch(self, part: Any, at: int, length: int, held: Tensor) -> Batch:
        index = torch.arange(self.streams) * length + at
        begins = torch.isin(index, torch.tensor(self.data.starts(len(part)))) | (at == 0)
        batch = part.take(index)
        return Batch({**batch.fields, "state": torch.where(begins[:, None], 0.0, held)})

    def evaluation(self, part: Chunks, size: int) -> Iterator[Batch]:
        length, held = len(part) // self.streams, torch.zeros(self.streams, self.data.size)
        for at in range(length):
            batch = self._batch(part, at, length, held)
            yield batch
            held = batch.carried.get("state", held) if self.data.carry else held

    def state(self) -> dict[str, Any]:
        self._take_back()
        return {"epoch": self.epoch, "position": self.position, "held": self.held}

    def load(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.position, self.held = state["epoch"], state["position"], state["held"]
        self.batch = None
