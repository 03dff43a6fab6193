"""Pictures of delivered runs, drawn by a process that a mirror of many trainings has: `python -m dlx.track.drawing`.

A fork would be beside threads of MLflow and Arrow, whose locks stay shut in the child, and would import what draws
for each training anew. This process takes folders line by line, is ended where it takes too long, and ends with its
mirror. Where something else ends it, or its code has changed on disk, another one draws.
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
from ..utils import imports
from .keeper import share_priority
from .mirror import child_environment, pictures_of

LONGEST = 300.0
"""Seconds that the pictures of one training may take; `dlx runs sync RUN` draws them without a limit."""
GRACE = 10.0
"""Seconds in which it ends, once its input has."""
TRIES = 2
"""Processes that begin with the same folders: what has ended two may end each."""
AGAIN = 75
"""Exit status of a process whose work another is to go on with."""
BY_ANOTHER = "the process that draws pictures was ended, and another one has drawn these"


class Drawer:
    """The process that draws, started where there is something to draw."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.folders: Sequence[Path] = ()
        self.until, self.is_asked, self.text = 0.0, False, b""
        self.tries = 0
        """Processes that have begun with these folders."""
        self.notes: list[str] = []
        """What the logs of these folders say beside what kept pictures from being drawn."""

    def begin(self, folders: Sequence[Path]) -> None:
        """Let it draw the pictures of folders. Raises OSError where it cannot be started."""
        self.folders, self.tries, self.notes = folders, 0, []
        self._ask()

    def _ask(self) -> None:
        if self.is_asked or self.process is None or self.process.poll() is not None:  # nobody wants that answer
            self.close()
            words = [sys.executable, "-P", "-m", "dlx.track.drawing", str(self.home)]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(words, bufsize=0, stdin=pipe, stdout=pipe, env=child_environment())  # noqa: S603
            assert self.process.stdout is not None
            os.set_blocking(self.process.stdout.fileno(), False)
        assert self.process.stdin is not None
        self.tries += 1
        self.until, self.is_asked, self.text = time.monotonic() + LONGEST, True, b""
        with suppress(BrokenPipeError):  # it has just been ended, as its output says
            self.process.stdin.write(json.dumps(list(map(str, self.folders))).encode() + b"\n")

    def problems(self) -> list[list[str]] | None:
        """Return what kept pictures from being drawn, by folder; None while it draws. Raises OSError as `begin`."""
        assert self.process is not None
        assert self.process.stdout is not None
        found = self.process.stdout.read()
        self.text += found or b""
        if self.text.endswith(b"\n"):
            self.is_asked = False
            each: list[list[str]] = json.loads(self.text)
            return [[*self.notes, *one] for one in each]
        if found == b"":
            return self._ended(self.process)
        if time.monotonic() > self.until:
            self.process.kill()
            self.close()
            return self._none(f"they take more than {LONGEST:.0f} seconds")
        share_priority(self.process.pid)
        return None

    def _ended(self, process: subprocess.Popen[bytes]) -> list[list[str]] | None:
        """Let another process draw, where one has ended; what there is to say where that has ended too."""
        self.close()
        if self.tries >= TRIES:
            return self._none(f"{TRIES} processes that were to draw them were ended")
        self.notes = [] if process.returncode == AGAIN else [BY_ANOTHER]
        self._ask()
        return None

    def _none(self, why: str) -> list[list[str]]:
        return [[f"there are no pictures: {why}; `dlx runs sync RUN` draws them without a limit"]] * len(self.folders)

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
        self.process, self.is_asked = None, False


def main() -> NoReturn:
    """Draw what is asked for, and end with the input, or where the code on disk is another by then."""
    files = imports.Files()
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # whatever is being drawn: nobody would deliver it

    Thread(target=read, daemon=True).start()  # the main thread draws: samples are limited by a signal
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed meanwhile goes to the log
    while True:
        folders = json.loads(lines.get())
        if files.have_changed():
            os._exit(AGAIN)
        problems = [pictures_of(RunFolder(Path(folder))) for folder in folders]
        files.have_changed()  # what was imported on the way is known from here on
        print(json.dumps(problems), file=answers, flush=True)


if __name__ == "__main__":
    main()
