"""Whether a mirror is at work on a folder: it holds a lock there, which opens with any end of its process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = "mirror.lock"
LOOK = 0.05
"""Seconds between two looks at a mirror that is waited for."""


@contextmanager
def holding(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the locks of folders; one that the mirror of an earlier training of the run still has is left to it."""
    with ExitStack() as stack:
        for folder in folders:
            with suppress(Timeout, OSError):
                stack.enter_context(FileLock(folder / LOCK, timeout=0))
        yield


def is_at_work(folder: Path) -> bool:
    """Whether a mirror delivers this folder now, or draws its pictures."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except OSError as error:  # Timeout is one; who may not write there learns why from the delivery itself
        return isinstance(error, Timeout)


def wait(folder: Path) -> bool:
    """Wait for the mirror at work on a folder; whether there was one."""
    if not is_at_work(folder):
        return False
    with FileLock(folder / LOCK, poll_interval=LOOK):
        return True


def wait_all(folders: Sequence[Path]) -> set[Path]:
    """Wait for the mirrors at work on folders, and return those of them that had one.

    A mirror begins with some while others are waited for: it is looked for until none is there.
    """
    waited: set[Path] = set()
    while found := {folder for folder in folders if wait(folder)}:
        waited |= found
    return waited
