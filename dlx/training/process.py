"""What the process of a training is set to before torch is imported: idle threads sleep, freed memory stays."""

from __future__ import annotations

import ctypes
import os

SPIN_COUNT = "10000"
"""Rounds that an idle thread of libgomp spins. With its default of 300,000 a step of a LeNet took 161 times as long
on two threads as on one, where other work kept both cores busy; with this 1.4 times, and no longer on idle cores
(benchmarks/threads.py --busy)."""

MMAP_THRESHOLD = 32 * 2**20
"""Bytes from which malloc takes a block from the system and gives it back when it is freed: glibc's largest."""
TRIM_THRESHOLD = 2**31 - 1
"""Bytes at the end of the heap that glibc holds before it returns them: as many as an int of `mallopt` takes."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

_OF_USERS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


def tune() -> None:
    """Set how this process waits and how it allocates; call it before torch is imported.

    What the user has set in the environment stays: `GOMP_SPINCOUNT`, glibc's `MALLOC_...` and `GLIBC_TUNABLES`.
    """
    # libgomp reads the variable once, when torch loads it
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next step, and return whether it does.

    By default glibc unmaps large blocks as they are freed and returns the end of its heap, so each step asks the
    kernel for its activations anew, zeroed page by page: a fifth of the processor time of a small convolutional
    net (benchmarks/freed_memory.py). Other C libraries are left as they are.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if any(name in os.environ for name in _OF_USERS) or "glibc.malloc." in tunables:
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  another C library has no such function
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):  # TypeError: CDLL(None) on Windows
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD))
