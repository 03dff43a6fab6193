"""Whole documents packed into windows of a text: each window is a range of consecutive tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...lazy import np
from ...text import END, PADDING
from .windows import MASKED, TokenFile, Windows

if TYPE_CHECKING:
    from .windows import Numbers


def ranges(file: TokenFile, window: int) -> Numbers:
    """Return the first token of each window and that behind its last one (windows, 2).

    Documents stand in their order, as many in a window as fit whole. Of a longer document the first windows are full,
    and the next document goes behind its rest; where only its `<end>` would be left, no window has that as an input.
    """
    found: list[tuple[int, int]] = []
    begin = last = 0
    for first, end in zip(file.documents[:-1].tolist(), file.documents[1:].tolist(), strict=True):
        if end - begin <= window:
            last = end
            continue
        if last > begin:
            found.append((begin, last))
        begin = first
        while end - 1 - begin > window:
            found.append((begin, begin + window))
            begin += window
        last = min(end, begin + window)
    return np.array([*found, (begin, last)], np.int64)


@dataclass(frozen=True)
class PackedWindows(Windows):
    """Inputs or targets of windows that hold several documents; no target goes from one to the next."""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.window

    def __len__(self) -> int:
        return len(self.firsts)

    def take(self, rows: Any, axis: int = 0) -> PackedWindows:
        """Select windows by index; they stay on disk."""
        return replace(self, firsts=self.firsts[rows])

    def __getitem__(self, which: slice | Numbers) -> Numbers:
        bounds = self.firsts[which]
        place = bounds[..., :1] + np.arange(self.window)
        last = np.minimum(bounds[..., 1:], len(self.file.tokens))
        x = self.file.tokens[np.minimum(place, last - 1)].astype(np.int64)
        outside = place >= last
        if self.role == "input":
            return np.where(outside, PADDING, x)
        y = self.file.tokens[np.minimum(place + 1, len(self.file.tokens) - 1)].astype(np.int64)
        return np.where(outside | (x == END), MASKED, y)
