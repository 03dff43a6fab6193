"""Pictures of delivered runs, drawn by a process that a mirror of many trainings has: `python -m dlx.track.drawing`.

A fork would be beside threads of MLflow and Arrow, whose locks stay shut in the child, and would import what draws
for each training anew. This process takes folders line by line, is ended where it takes too long, and ends with its
mirror.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NoReturn

from ..runs.folder import RunFolder
from .keeper import share_priority
from .mirror import child_environment, pictures_of

LONGEST = 300.0
"""Seconds that the pictures of one training may take; `dlx runs sync RUN` draws them without a limit."""
GRACE = 10.0
"""Seconds in which it ends, once its input has."""


class Drawer:
    """The process that draws, started where there is something to draw."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.until, self.count, self.text = 0.0, 0, b""

    def begin(self, folders: Sequence[Path]) -> None:
        """Let it draw the pictures of folders. Raises OSError where it cannot be started."""
        if self.count or self.process is None or self.process.poll() is not None:  # `count`: nobody wants that answer
            self.close()
            words = [sys.executable, "-P", "-m", "dlx.track.drawing", str(self.home)]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(words, bufsize=0, stdin=pipe, stdout=pipe, env=child_environment())  # noqa: S603
            assert self.process.stdout is not None
            os.set_blocking(self.process.stdout.fileno(), False)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(list(map(str, folders))).encode() + b"\n")
        self.until, self.count, self.text = time.monotonic() + LONGEST, len(folders), b""

    def problems(self) -> list[list[str]] | None:
        """Return what kept pictures from being drawn, by folder; None while it draws."""
        assert self.process is not None
        assert self.process.stdout is not None
        count, found = self.count, self.process.stdout.read()
        self.text += found or b""
        if self.text.endswith(b"\n"):
            self.count = 0
            each: list[list[str]] = json.loads(self.text)
            return each
        why = "the process that draws them was ended" if found == b"" else ""
        if time.monotonic() > self.until:
            self.process.kill()
            why = f"they take more than {LONGEST:.0f} seconds; `dlx runs sync RUN` draws them without a limit"
        if why:
            self.close()
            return [[f"there are no pictures: {why}"]] * count
        share_priority(self.process.pid)
        return None

    def close(self) -> None:
        """End the process, if there is one."""
        if self.process is None:
            return
        with self.process as process:
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
        self.process, self.count = None, 0


def main() -> NoReturn:
    """Draw what is asked for, and end with the input."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # whatever is being drawn: nobody would deliver it

    Thread(target=read, daemon=True).start()  # the main thread draws: samples are limited by a signal
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed meanwhile goes to the log
    while True:
        problems = [pictures_of(RunFolder(Path(folder))) for folder in json.loads(lines.get())]
        print(json.dumps(problems), file=answers, flush=True)


if __name__ == "__main__":
    main()
