"""Writing a file so that a reader never sees half of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

Condition = Callable[[], bool]
_SYNCED: ContextVar[Condition] = ContextVar("synced", default=lambda: True)


@contextmanager
def synced(condition: Condition) -> Iterator[None]:
    """Files of this thread wait for the disk only where `condition` says so: each wait costs milliseconds.

    Without it they are whole after a kill all the same, but need not be after a power cut.
    """
    before = _SYNCED.set(condition)
    try:
        yield
    finally:
        _SYNCED.reset(before)


def replace(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """All of `data`, whole or in pieces, at `path` or, after a kill or an OSError, what was there before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as handle:
            for piece in [data] if isinstance(data, bytes) else data:
                handle.write(piece)
            handle.flush()
            if _SYNCED.get()():
                os.fsync(handle.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
