"""Imports of large packages in processes that dlx has for itself: without looking for garbage among what stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OWN: list[bool] = []
"""Has an item where nobody else's objects are in this process."""


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
