"""A part of the data that stays on disk: the next batches are fetched while the network works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...data import Split
from ...lazy import torch
from .data_part import DataPart, examples_at_once

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

AHEAD = 2
"""Batches that are fetched before they are asked for."""


class OnDisk:
    """Examples that come as tensors on the CPU where they are taken, by slice or by numbers."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.device = array, tuple(array.shape), torch.device("cpu")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        if isinstance(which, slice):
            return torch.from_numpy(self.array[which])
        return torch.from_numpy(self.array[which.cpu().numpy()])


@dataclass
class Batch:
    """Tensors on the device, and the event after which they are there, where they are moved beside the training."""

    tensors: tuple[Tensor, Tensor]
    arrived: Any = None


@dataclass
class Expected:
    """What will be asked for, in that order, and what of it is on its way."""

    coming: Iterator[Tensor] = field(default_factory=lambda: iter(()))
    fetched: deque[tuple[Tensor, Future[Batch]]] = field(default_factory=deque)


@dataclass(frozen=True)
class StreamedPart(DataPart):
    """One part of the data of which batches alone are on the device.

    `x` and `y` give examples as tensors on the CPU. One thread reads, prepares and moves what `expect` announces; on
    a GPU it copies from pinned memory in a stream of its own.
    """

    to: Device
    expected: Expected = field(default_factory=Expected)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "dlx-data"))
    moving: list[Any] = field(default_factory=list)
    """The CUDA stream of the copies, once there is one."""

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        fetched, index = self.expected.fetched, index.cpu()
        if fetched and torch.equal(fetched[0][0], index):
            batch = fetched.popleft()[1]
            self._fetch_ahead()
            return self._here(batch.result())
        return self._here(self._fetched(index))

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        pieces = torch.split(torch.arange(len(self)), examples_at_once(self.x.shape[1:], self.to, size))
        coming = deque(self.thread.submit(self._fetched, piece) for piece in pieces[:1])
        for piece in [*pieces[1:], None]:
            if piece is not None:
                coming.append(self.thread.submit(self._fetched, piece))
            yield self._here(coming.popleft().result())

    def expect(self, drawn: Tensor, size: int) -> None:
        for _, waiting in self.expected.fetched:
            waiting.cancel()
        self.expected.fetched.clear()
        self.expected.coming = iter(torch.split(drawn, size))
        self._fetch_ahead()

    def _fetch_ahead(self) -> None:
        expected = self.expected
        while len(expected.fetched) < AHEAD and (index := next(expected.coming, None)) is not None:
            expected.fetched.append((index, self.thread.submit(self._fetched, index)))

    def _fetched(self, index: Tensor) -> Batch:
        """Some examples on the device, or on their way there."""
        tensors = self.x[index], self.y[index]
        if self.to.type != "cuda":
            return Batch(tensors)
        if not self.moving:
            self.moving.append(torch.cuda.Stream(self.to))  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self.moving[0]):
            x, y = (tensor.pin_memory().to(self.to, non_blocking=True) for tensor in tensors)
            return Batch((x, y), self.moving[0].record_event())

    def _here(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The tensors of a batch, for whatever the device does next; the host does not wait."""
        if batch.arrived is not None:
            now = torch.cuda.current_stream(self.to)
            now.wait_event(batch.arrived)
            for tensor in batch.tensors:
                tensor.record_stream(now)
        return batch.tensors


def streamed(split: Split, to: Device) -> StreamedPart:
    """A part of a set that streams."""
    x: Any = OnDisk(split.x)
    y: Any = torch.from_numpy(split.y) if hasattr(split.y, "flags") else OnDisk(split.y)
    return StreamedPart(x, y, to)
