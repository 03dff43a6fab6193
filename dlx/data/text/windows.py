"""Windows of tokens as an array: inputs or targets (windows, window), cut out of a mapped file when indexed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[Any]

MASKED = -100
"""Target of a position that does not count: torch's `ignore_index`."""


@dataclass(frozen=True)
class TokenFile:
    """The tokens of a part and where its documents begin.

    Attributes:
        tokens: numbers of tokens (n,), mapped from a file.
        documents: index of the first token of each document, and n (documents + 1,).
        lengths: number of characters that each token of the vocabulary stands for.
    """

    tokens: Numbers
    documents: Numbers
    lengths: tuple[int, ...]

    def firsts(self, window: int, stride: int) -> Numbers:
        """Return the number of the first window of each document, and that of all windows (documents + 1,)."""
        targets = np.maximum(np.diff(self.documents) - 1, 0)  # the first token has none before it
        counts = np.where(targets > 0, 1 + -(-np.maximum(targets - window, 0) // stride), 0)
        return np.concatenate([[0], np.cumsum(counts)])


@dataclass(frozen=True)
class Windows:
    """Inputs or targets of all windows of a part; slices and integer indices give int64 arrays in memory.

    A window never goes beyond its document: behind the end inputs are 0, and targets `MASKED`. With `once` a target
    that the window before it has too is masked, so that each token counts once.
    """

    file: TokenFile
    window: int
    stride: int
    firsts: Numbers
    role: Literal["input", "target"] = "input"
    once: bool = False
    carry: bool = False
    """Whether states go on from one window to the next."""
    rows: Numbers | None = None
    """The windows that are selected; None for all."""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.window

    @property
    def ndim(self) -> int:
        return 2

    @property
    def dtype(self) -> Any:
        return np.dtype(np.int64)

    def __len__(self) -> int:
        return int(self.firsts[-1]) if self.rows is None else len(self.rows)

    def take(self, rows: Any, axis: int = 0) -> Windows:
        """Select windows by index; they stay on disk."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def __getitem__(self, which: slice | Numbers) -> Numbers:
        index = np.arange(*which.indices(len(self))) if isinstance(which, slice) else np.asarray(which)
        index = index if self.rows is None else self.rows[index]
        document = np.searchsorted(self.firsts, index, side="right") - 1
        number = index - self.firsts[document]
        first = self.file.documents[document] + number * self.stride
        place = first[..., None] + np.arange(self.window) + (self.role == "target")
        last = self.file.documents[document + 1][..., None]
        found: Numbers = self.file.tokens[np.minimum(place, last - 1)].astype(np.int64)
        outside = place >= last if self.role == "input" else self._masked(place, last, number)
        found[outside] = 0 if self.role == "input" else MASKED
        return found

    def _masked(self, place: Numbers, last: Numbers, number: Numbers) -> Numbers:
        outside: Numbers = place >= last
        if not self.once:
            return outside
        again: Numbers = (number > 0)[..., None] & (np.arange(self.window) < self.window - self.stride)
        return outside | again

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Numbers:
        return np.asarray(self[:], dtype)
