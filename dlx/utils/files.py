"""Writing a file so that a reader never sees half of it, and reading what is a file and nothing else."""

from __future__ import annotations

import os
import stat
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


def regular(path: Path) -> Path:
    """The path of a file. OSError where there is another thing: to open a named pipe waits for its other end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(f"it is a link to {path.readlink()}, which is not there") from None
        raise
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {KINDS.get(stat.S_IFMT(mode), 'a device')}, and no file")
    return path


KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def read(path: Path, most: int | None = None) -> bytes:
    """All of a file. OSError where it cannot be had, is no file, or has more than `most` bytes."""
    if most is not None and (size := regular(path).stat().st_size) > most:
        raise OSError(f"it has {size:,} bytes, and {most:,} are the most that is read")
    return regular(path).read_bytes()


def reason(error: Exception) -> str:
    """Why a file could not be read or written, to go on with a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
