"""Examples that stay on disk: rows of a mapped file, read and preprocessed when they are indexed."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ..lazy import np
from ..shapes import Shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from .preprocess import Fitted
    from .splits import Indices

    Array = npt.NDArray[Any]

MEMORY_FRACTION = 0.25
"""Fraction of the free memory above which `stream: auto` streams; splitting and preprocessing make copies in
memory."""
MAX_MAPPED_BYTES = 2**25
"""Bytes of the file that may stay mapped into the process."""
READAHEAD_BYTES = 2**16
"""Bytes that the kernel maps around a row that is read."""

Stream = Annotated[
    bool | Literal["auto"],
    Field(description="leave the inputs on disk and read each batch; auto does so from a quarter of free memory on"),
]


def should_stream(wanted: bool | Literal["auto"], count: int, shape: Shape) -> bool:
    """Whether `count` inputs of `shape` stay on disk."""
    import psutil

    if wanted != "auto":
        return wanted
    return 4 * count * prod(shape) > MEMORY_FRACTION * psutil.virtual_memory().available


class Mapped:
    """An array in a memory-mapped file; indexing returns a copy, and releases mapped pages from time to time."""

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...], offset: int, columns_first: bool = False):
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        order: Literal["C", "F"] = "F" if columns_first else "C"
        self.array: Array = np.ndarray(shape, dtype, self.map, offset, order=order)
        self.row = self.array.itemsize * prod(shape[1:])
        self.touched = 0

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Indices) -> Array:
        found: Array = self.array[rows]
        # Mapped pages count as memory of the process until they are released
        self.touched += len(rows) * (self.row + READAHEAD_BYTES)
        if self.touched > MAX_MAPPED_BYTES:
            self.touched = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                self.map.madvise(mmap.MADV_DONTNEED)
        return found


@dataclass(frozen=True)
class Streamed:
    """An array (n, *example_shape) on disk, whose rows are decoded and preprocessed when they are indexed.

    Slices and integer indices give a new array in memory.

    Attributes:
        file: the mapped file.
        plain: function from stored rows to numbers.
        dtype: type of the result.
        steps: fitted preprocessing steps.
    """

    file: Mapped
    rows: Indices
    """Rows of the file, in the order of the examples."""
    plain: Callable[[Array], Array]
    example_shape: Shape
    """Shape of one example."""
    dtype: Any
    steps: tuple[Fitted, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.example_shape)

    @property
    def ndim(self) -> int:
        return 1 + len(self.example_shape)

    def __getitem__(self, which: slice | Indices) -> Array:
        found = self.plain(self.file[self.rows[which]])
        for step in self.steps:
            found = step.step.apply(found, step.found)
        return np.asarray(found, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)

    def take(self, which: Indices) -> Streamed:
        """Select examples by index."""
        return replace(self, rows=self.rows[which])

    def with_step(self, step: Fitted) -> Streamed:
        """Return a copy with one more step, in single precision."""
        return replace(
            self.as_float32(), example_shape=step.step.output_shape(self.example_shape), steps=(*self.steps, step)
        )

    def as_float32(self) -> Streamed:
        """Return a copy in single precision."""
        return replace(self, dtype=np.dtype(np.float32))


def stream_rows(
    file: Mapped, plain: Callable[[Array], Array], example_shape: Shape, dtype: Any = "float32"
) -> Streamed:
    """Return all rows of a file in their order as a streamed array."""
    return Streamed(file, np.arange(len(file)), plain, example_shape, np.dtype(dtype))


def take_rows(x: Array | Streamed, rows: Indices) -> Any:
    """Select rows of an array, which stays on disk or in memory."""
    return x.take(rows) if isinstance(x, Streamed) else x.take(rows, 0)
