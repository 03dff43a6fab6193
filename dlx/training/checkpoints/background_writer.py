"""Checkpoints on their way to the disk while the training goes on: a thread of their own, at most one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Does one piece of writing at a time in the background."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, write: Callable[[], None]) -> None:
        """Have `write` done. Nothing may be on its way."""
        assert self._thread is None, "wait() first"
        self._thread = threading.Thread(target=self._do, args=(write,), name="dlx checkpoint")
        self._thread.start()

    def wait(self) -> bool:
        """Until nothing is on its way: whether something was. Raises what went wrong with it."""
        if self._thread is None:
            return False
        self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is not None:
            raise error
        return True

    def _do(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that trains
            self._error = error
