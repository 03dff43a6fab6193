"""A part of a text: windows of tokens, gathered by the operations of a step; in streams where states go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ...data.batch import Batch, FieldNames
from ...data.text.packed import PackedWindows
from ...data.text.windows import MASKED, Windows
from ...lazy import torch
from ...text import END, PADDING
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

    from ...data import Split

ON_DEVICE = 2**31
"""Bytes of tokens that are moved to a GPU; of a longer text its batches are."""


@dataclass(frozen=True)
class LazyRows:
    """Stands for a tensor (rows, window) whose rows are gathered when they are asked for."""

    of: WindowPart
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.of), self.of.window

    @property
    def device(self) -> Device:
        return self.of.tokens.device

    def __len__(self) -> int:
        return len(self.of)

    def dim(self) -> int:
        return 2

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        index = torch.arange(*which.indices(len(self))) if isinstance(which, slice) else which
        return self.of.take(index.to(self.device))[self.name]


@dataclass(frozen=True)
class WindowPart(DataPart):
    """Windows of a text. `take` is operations on tensors alone, so that a step with it can be replayed.

    `tokens` are all of the part, in memory that is mapped from a file on a CPU; `documents` (documents + 1,) has the
    first token of each document, `firsts` (documents + 1,) its first window.
    """

    tokens: Tensor = field(kw_only=True)
    documents: Tensor = field(kw_only=True)
    firsts: Tensor = field(kw_only=True)
    window: int = field(kw_only=True)
    stride: int = field(kw_only=True)
    once: bool = field(kw_only=True)
    carry: bool = field(kw_only=True)
    to: Device = field(kw_only=True)
    count: int = field(kw_only=True)

    @classmethod
    def of(cls, split: Split, to: Device, names: FieldNames) -> WindowPart:
        """Return the part of a split whose inputs and targets are `Windows`."""
        inputs: object = split.x
        targets: object = split.y
        assert isinstance(inputs, Windows)
        assert isinstance(targets, Windows)
        file = inputs.file
        kind = PackedPart if isinstance(inputs, PackedWindows) else cls
        moved = to if file.tokens.nbytes <= ON_DEVICE else torch.device("cpu")
        tokens, documents, firsts = (
            torch.from_numpy(array).to(moved) for array in (file.tokens, file.documents, inputs.firsts)
        )
        nothing: Any = None
        return kind(
            nothing,
            nothing,
            names=names,
            tokens=tokens,
            documents=documents,
            firsts=firsts,
            window=inputs.window,
            stride=inputs.stride,
            once=targets.once,
            carry=inputs.carry,
            to=to,
            count=len(inputs),
        )

    def __post_init__(self) -> None:
        """Let inputs and targets stand for what `take` gathers."""
        object.__setattr__(self, "x", LazyRows(self, self.names.inputs[0]))
        object.__setattr__(self, "y", LazyRows(self, self.names.targets[0]))

    def __len__(self) -> int:
        return self.count

    @property
    def main(self) -> str:
        return self.names.inputs[0]

    @property
    def streams(self) -> bool:
        return False

    def take(self, index: Tensor) -> Batch:
        x, y = self._gathered(index)
        return self.batch({self.main: x.to(self.to), self.names.targets[0]: y.to(self.to)})

    def targets_of(self, index: Tensor) -> Batch:
        return self.batch({self.names.targets[0]: self._gathered(index)[1].to(self.to)})

    def some(self, index: Tensor) -> DataPart:
        batch = self.take(index)
        return DataPart(batch[self.main], batch.y, names=self.names, at_once=self.at_once)

    def chunks(self, size: int) -> Iterator[Batch]:
        size = self.evaluated_together((self.window,), self.tokens.device, size)
        for piece in self.pieces(size):
            yield self.take(piece.to(self.tokens.device))

    def _gathered(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets (n, window) of some windows, as `Windows` has them."""
        index = index.to(self.tokens.device)
        if len(self.documents) == 2:
            first, last, number = index * self.stride, self.documents[1], index
        else:
            document = torch.searchsorted(self.firsts, index, right=True) - 1
            number = index - self.firsts[document]
            first, last = self.documents[document] + number * self.stride, self.documents[document + 1].unsqueeze(1)
        place = first.unsqueeze(1) + torch.arange(self.window + 1, device=index.device)
        found = self.tokens[torch.minimum(place, last - 1)].long()
        outside = place >= last
        x = found[:, :-1].masked_fill(outside[:, :-1], 0)
        outside = outside[:, 1:]
        if self.once:
            again = torch.arange(self.window, device=index.device) < self.window - self.stride
            outside = outside | ((number > 0).unsqueeze(1) & again)
        return x, found[:, 1:].masked_fill(outside, MASKED)


@dataclass(frozen=True)
class PackedPart(WindowPart):
    """Windows that hold several documents; `firsts` (windows, 2) are their ranges of tokens."""

    def _gathered(self, index: Tensor) -> tuple[Tensor, Tensor]:
        bounds = self.firsts.index_select(0, index.to(self.tokens.device))
        place = bounds[:, :1] + torch.arange(self.window, device=bounds.device)
        last = bounds[:, 1:]
        x = self.tokens[torch.minimum(place, last - 1)].long()
        y = self.tokens[(place + 1).clamp(max=len(self.tokens) - 1)].long()
        outside = place >= last
        return x.masked_fill(outside, PADDING), y.masked_fill(outside | (x == END), MASKED)


BEGINS = "begins"
"""Field of a batch of streams: whether the state of each is zero."""


@dataclass(frozen=True)
class Streams:
    """The order of the windows of a part in streams: the first window of each, then the second of each, ...

    Each stream is a run of windows; the first ones have one window more where they have not the same number.
    """

    windows: int
    count: int

    @property
    def begins(self) -> Tensor:
        """The first window of each stream (streams,)."""
        length, longer = divmod(self.windows, self.count)
        number = torch.arange(self.count)
        return number * length + number.clamp(max=longer)

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, places: slice) -> Tensor:
        """Return the windows at some places of the order."""
        place = torch.arange(*places.indices(self.windows))
        return self.begins[place % self.count] + place // self.count


@dataclass(frozen=True)
class CarriedPart(WindowPart):
    """Windows in streams: the state in which a recurrent layer ends a window is where it begins the next."""

    streams_of: Streams = field(kw_only=True)
    starts: Tensor = field(kw_only=True)
    """The windows that begin at a state of zeros, in ascending order."""

    @classmethod
    def in_streams(cls, part: WindowPart, count: int) -> CarriedPart:
        """Cut a part into so many streams."""
        order = Streams(len(part), count)
        documents = part.firsts[:-1][part.firsts[1:] > part.firsts[:-1]]
        starts = torch.unique(torch.cat([order.begins.to(documents.device), documents]))
        own = {one.name: getattr(part, one.name) for one in fields(part)}
        return cls(**own, streams_of=order, starts=starts)

    def take(self, index: Tensor) -> Batch:
        batch = super().take(index)
        index = index.to(self.starts.device)
        begins = self.starts[torch.searchsorted(self.starts, index, right=True) - 1] == index
        return self.batch({**batch.fields, BEGINS: begins.to(self.to)})

    def answers(self, network: Callable[..., Any], size: int) -> Iterator[tuple[Any, Batch]]:
        """Iterate over the network's outputs and the batches, a window of each stream at a time, from zeros on.

        Of a part of which not all is evaluated, those are the first windows of each stream.
        """
        from ...modules.carry import carrying

        states: dict[Any, Any] = {}
        for start in range(0, self.evaluated or len(self), self.streams_of.count):
            batch = self.take(self.streams_of[start : start + self.streams_of.count])
            with carrying(batch[BEGINS], states):
                outputs = network(*batch.inputs)
            yield outputs, batch


def carried(parts: dict[str, DataPart], batch: Callable[[int], int]) -> dict[str, DataPart]:
    """Return the parts in streams where their data carries states; `batch` gives the number of them for so many
    windows.
    """
    carry = {name: part for name, part in parts.items() if isinstance(part, WindowPart) and part.carry}
    if not carry:
        return parts
    return parts | {name: CarriedPart.in_streams(part, batch(len(part))) for name, part in carry.items()}
