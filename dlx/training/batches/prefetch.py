"""A part of the data that stays on disk: the next batches are fetched while the network computes this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...data import Split
from ...data.batch import ONE_EACH, Batch, FieldNames
from ...lazy import torch
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

PREFETCHED = 2
"""Batches that are fetched ahead."""


class OnDisk:
    """Array on disk that gives tensors on the CPU, by slice or by indices."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.device = array, tuple(array.shape), torch.device("cpu")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        if isinstance(which, slice):
            return torch.from_numpy(self.array[which])
        return torch.from_numpy(self.array[which.cpu().numpy()])


@dataclass
class FetchedBatch:
    """Tensors of a batch, and on CUDA the event after which their copy to the device is complete."""

    tensors: tuple[Tensor, ...]
    arrived: Any = None


@dataclass
class PrefetchQueue:
    """Indices of the batches to come, in order, and the batches that are being fetched."""

    upcoming: Iterator[Tensor] = field(default_factory=lambda: iter(()))
    fetched: deque[tuple[Tensor, Future[FetchedBatch]]] = field(default_factory=deque)


@dataclass(frozen=True)
class StreamedPart(DataPart):
    """One part of the data that stays on disk; only batches reach the device.

    `x` and `y` give examples as tensors on the CPU. One thread reads, preprocesses and moves what `prefetch`
    announces; on a GPU it copies from pinned memory in a stream of its own.
    """

    to: Device
    queue: PrefetchQueue = field(default_factory=PrefetchQueue)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "dlx-data"))
    copy_stream: list[Any] = field(default_factory=list)
    """The CUDA stream of the copies, once there is one; a list, since the class is frozen."""

    def take(self, index: Tensor) -> Batch:
        fetched, index = self.queue.fetched, index.cpu()
        # an augmentation is fitted by examples that nobody announced: those are fetched at once, and the queue stays
        if fetched and torch.equal(fetched[0][0], index):
            batch = fetched.popleft()[1]
            self._fetch_ahead()
            return self._synchronized(batch.result())
        return self._synchronized(self._fetch(index))

    def chunks(self, size: int) -> Iterator[Batch]:
        pieces = list(self.pieces(self.evaluated_together(self.x.shape[1:], self.to, size)))
        # one piece ahead, and no more: the next is read while the network computes this one
        upcoming = deque(self.thread.submit(self._fetch, piece) for piece in pieces[:1])
        for piece in [*pieces[1:], None]:
            if piece is not None:
                upcoming.append(self.thread.submit(self._fetch, piece))
            yield self._synchronized(upcoming.popleft().result())

    def prefetch(self, indices: Tensor, size: int) -> None:
        for _, waiting in self.queue.fetched:
            waiting.cancel()
        self.queue.fetched.clear()
        self.queue.upcoming = iter(torch.split(indices, size))
        self._fetch_ahead()

    def _fetch_ahead(self) -> None:
        queue = self.queue
        while len(queue.fetched) < PREFETCHED and (index := next(queue.upcoming, None)) is not None:
            queue.fetched.append((index, self.thread.submit(self._fetch, index)))

    def _fetch(self, index: Tensor) -> FetchedBatch:
        """Read examples and start their copy to the device."""
        tensors = tuple(table[index] for table in self.fields.values())
        if self.to.type != "cuda":
            return FetchedBatch(tensors)
        if not self.copy_stream:
            self.copy_stream.append(torch.cuda.Stream(self.to))  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self.copy_stream[0]):
            moved = tuple(tensor.pin_memory().to(self.to, non_blocking=True) for tensor in tensors)
            return FetchedBatch(moved, self.copy_stream[0].record_event())

    def _synchronized(self, batch: FetchedBatch) -> Batch:
        """Return a batch; the device waits for their copy, the host does not."""
        if batch.arrived is not None:
            now = torch.cuda.current_stream(self.to)
            now.wait_event(batch.arrived)
            for tensor in batch.tensors:
                # allocated in the stream of the copies: torch would reuse the memory there as soon as the tensor is
                # freed on the host, while the training's stream may still read it
                tensor.record_stream(now)
        return self.batch(dict(zip(self.fields, batch.tensors, strict=True)))


def streamed(split: Split, to: Device, names: FieldNames = ONE_EACH, ids: Sequence[str] = ()) -> StreamedPart:
    """Return the part for a split whose examples stay on disk; fields that do not are kept on the CPU."""
    x, y = _on_host(split.x), _on_host(split.y)
    more = {name: _on_host(array) for name, array in split.more.items() if name not in ids}
    return StreamedPart(x, y, to, more=more, names=names)


def _on_host(array: Any) -> Any:
    return torch.from_numpy(array) if hasattr(array, "flags") else OnDisk(array)
