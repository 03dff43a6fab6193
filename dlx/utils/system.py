"""What systems differ in: cores, locks, and groups of processes. dlx is tested on Linux alone.

On macOS all of it works without a trial; where POSIX is missing, what needs it is done in another way or left out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "folder.lock"
"""File that is locked in place of its folder."""


def cores() -> int:
    """Return the cores that this process may use; of systems that do not tell, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, after waiting for another process of this machine that has it.

    Where there are no locks of folders, a file in it is locked.
    """
    try:
        import fcntl
    except ImportError:
        from filelock import FileLock

        with FileLock(folder / LOCK):
            yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems of clusters have no locks on folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def end_group(process: int, *, forcibly: bool) -> None:
    """End a process with those that it has started; of systems without groups of processes it alone."""
    number = signal.SIGKILL if forcibly and hasattr(signal, "SIGKILL") else signal.SIGTERM
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process, number)
        else:
            os.kill(process, number)
