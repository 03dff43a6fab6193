"""Write checkpoints in a thread while the training goes on, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs one write at a time in a background thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, write: Callable[[], None]) -> None:
        """Start `write` in the background. The one before has to be waited for first."""
        assert self._thread is None, "wait() first"
        self._thread = threading.Thread(target=self._do, args=(write,), name="dlx checkpoint")
        self._thread.start()

    def wait(self) -> bool:
        """Wait for the write; return whether there was one. Raises its error."""
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
