"""Journal of a study: one fact a line, only ever appended, so that a kill loses no fact that was written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DlxError, RunError
from ..utils import files
from ..utils.json_documents import loads, nonfinite_as_words

Fact = dict[str, Any]
SYNC_EVERY = 1.0
"""Seconds between two calls of fsync. A kill loses nothing that was appended; a power cut at most this much."""


class Journal:
    """Facts in a file. An unfinished line at its end, which a kill may leave, is ignored, and cut off before
    appending.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: BinaryIO | None = None
        self._synced = time.monotonic()

    def facts(self) -> Iterator[tuple[int, Fact]]:
        """Yield the number and the fact of each line. Raises DlxError for a line without a fact, unless it is the
        last one.
        """
        try:
            lines = files.read(self.path).splitlines(keepends=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DlxError(f"{self.path} cannot be read: {files.reason(error)}") from error
        for number, line in enumerate(lines, 1):
            fact = _read(line)
            if fact is not None:
                yield number, fact
            # only the last line can be cut by a kill; one before it was altered by something else
            elif number < len(lines):
                raise self.corrupt(number, "is not a fact of a study")

    def corrupt(self, line: int, what: str) -> DlxError:
        """Return the error of a corrupt line, with the way out."""
        hint = (
            f"Keep those before it: `head -n {line - 1} {self.path.name} > kept && mv kept {self.path.name}` in that "
            "folder. What was trained stands in its runs, and is taken from there."
        )
        return DlxError(f"line {line:,} of {self.path} {what}", hint=hint)

    def append(self, fact: Fact) -> None:
        """Append a fact, which then survives a kill of this process. Raises RunError where the disk is full."""
        line = (
            json.dumps(nonfinite_as_words({**fact, "time": time.time()}), separators=(",", ":"), allow_nan=False)
            + "\n"
        )
        try:
            # unbuffered: a fact is with the operating system once `write` returns, and outlives a kill of the process
            handle = self._handle = self._handle or self._open()
            before = handle.tell()
            if handle.write(line.encode()) < len(line.encode()):
                handle.truncate(before)
                raise OSError("the disk is full")  # noqa: TRY301
            # an fsync takes milliseconds, as long as a small trial; at most one a second is paid for
            if time.monotonic() - self._synced > SYNC_EVERY:
                self.sync()
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {(error.strerror or str(error)).lower()}") from error

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        if self._handle is not None:
            os.fsync(self._handle.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        if self._handle is not None:
            self.sync()
            self._handle.close()
            self._handle = None

    def _open(self) -> BinaryIO:
        """Open the file for appending, and cut off an unfinished line that a kill has left."""
        size = 0
        if self.path.exists():
            lines = self.path.read_bytes().splitlines(keepends=True)
            if lines and _read(lines[-1]) is None:
                lines.pop()
            size = sum(map(len, lines))
        handle = self.path.open("ab", buffering=0)
        handle.truncate(size)
        handle.seek(0, os.SEEK_END)
        return handle


def _read(line: bytes) -> Fact | None:
    """Parse the fact of a complete line; None where it holds none."""
    if not line.endswith(b"\n"):
        return None
    try:
        fact = loads(line)
    except ValueError:
        return None
    return fact if isinstance(fact, dict) and isinstance(fact.get("fact"), str) else None


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Convert metrics to floats: infinities and NaN are words in the journal, since JSON has none."""
    return {name: float(value) for name, value in metrics.items()}
