"""Atomic writing of files, and reading that refuses anything but a regular file."""

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
    """Call fsync on files that the block writes only where `condition()` is true: each call takes milliseconds.

    Without fsync a file is whole after a kill of the process, but may not be after a power cut.
    """
    before = _SYNCED.set(condition)
    try:
        yield
    finally:
        _SYNCED.reset(before)


def replace(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Write `data`, one or several pieces, to `path` atomically: after a kill or an OSError the old file is there."""
    # In the same folder: a rename is atomic within a file system only.
    # With the process id, as several processes may write one file at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as handle:
            for piece in [data] if isinstance(data, bytes) else data:
                handle.write(piece)
            handle.flush()
            if _SYNCED.get()():
                os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def regular(path: Path) -> Path:
    """Return `path` where it is a regular file. OSError for anything else: opening a named pipe would wait."""
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
    """Read a file. OSError where it is missing, is no regular file, or has more than `most` bytes."""
    if most is not None and (size := regular(path).stat().st_size) > most:
        raise OSError(f"it has {size:,} bytes, and {most:,} are the most that is read")
    return regular(path).read_bytes()


def reason(error: Exception) -> str:
    """Return the reason of an error, in lower case to continue a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
