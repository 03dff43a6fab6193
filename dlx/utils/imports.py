"""Imports of large packages in processes that dlx has for itself: without looking for garbage among what stays, and
beside work that leaves Python's lock to others.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .system import cores

if TYPE_CHECKING:
    from threading import Thread

_OWN: list[bool] = []
"""Has an item where nobody else's objects are in this process."""

_BESIDE: list[Thread] = []
"""The threads that import."""


def own_process() -> None:
    """Say that this process is dlx's own, from its beginning to its end."""
    _OWN[:] = [True]


@contextmanager
def uncollected() -> Iterator[None]:
    """Import packages: in a process of dlx's own, the garbage collector does not look at their objects, now or later.

    It walks all objects again each time they have become a quarter more, which was a fourth of the processor time of
    a mirror's imports. In another process a user's objects would be kept with them, garbage or not.
    """
    if not _OWN or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def beside(package: str) -> Iterator[None]:
    """Import a package in a thread of its own while the block runs, and wait for it behind the block.

    Only in a process of dlx's own that has more than one core. The block must not import anything that looks for the
    package. If it fails, nobody waits: the process is about to end.
    """
    if not _OWN or package in sys.modules or cores() == 1:
        yield
        return

    from threading import Thread

    def imported() -> None:
        with suppress(Exception), uncollected():  # the first to use it imports it again, and has its error
            importlib.import_module(package)

    # a daemon, for an interpreter that ends does not wait for those
    thread = Thread(target=imported, name=f"import {package}", daemon=True)
    _BESIDE.append(thread)
    thread.start()
    yield
    thread.join()


def unfinished() -> int:
    """Return how many threads still import."""
    return sum(thread.is_alive() for thread in _BESIDE)


class Files:
    """The files of all imported modules, as they were when they were first looked at."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.since = time.time_ns()

    def have_changed(self) -> bool:
        """Whether one has changed since the last look, or was written since this process began."""
        names = [name for module in list(sys.modules.values()) if (name := getattr(module, "__file__", None))]
        found = {name: _modified(name) for name in names}
        now = time.time_ns()  # a file of another machine's clock may be of tomorrow, and is no change
        changed = any(self.since < when <= now or self.times.get(name, when) != when for name, when in found.items())
        self.times = found | self.times
        return changed


def _modified(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:  # it is in an archive
        return 0
