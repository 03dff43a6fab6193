"""Commands on a terminal: a pseudo-terminal of the kernel, and pyte, which draws what a terminal would show."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import commands
import pyte

WITHOUT = ("CI", "NO_COLOR", "COLUMNS", "LINES", "TTY_INTERACTIVE", "TTY_COMPATIBLE", "FORCE_COLOR")
"""Variables that change what is shown: a test sets those that it means."""
LONGEST = 120.0
"""Seconds of a command at most."""


@dataclass
class Terminal:
    """A command on a terminal, and what is on its screen."""

    columns: int
    lines: int
    master: int
    command: commands.Started
    raw: bytes = b""
    screens: list[list[str]] = field(default_factory=list)
    """The screen after each piece of output."""

    def __post_init__(self) -> None:
        self.screen = pyte.HistoryScreen(self.columns, self.lines, history=2000)
        self.stream = pyte.ByteStream(self.screen)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def all_lines(self) -> list[str]:
        """The lines that have gone over the upper edge, and those of the screen."""
        above = ["".join(row[i].data for i in range(self.columns)).rstrip() for row in self.screen.history.top]
        return above + self.shown

    def resize(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def interrupt(self) -> None:
        self.command.send_signal(signal.SIGINT)

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Read until the screen is so; the screen. Fails where the command ends before."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            if not self._read():
                break
            if seen(self.shown):
                return self.shown
        raise AssertionError("it was never seen:\n" + "\n".join(self.all_lines))

    def ended(self) -> int:
        """Read to the end of the command; its exit status."""
        while self._read():
            pass
        os.close(self.master)
        return self.command.wait(LONGEST)

    def _read(self) -> bool:
        try:
            if select.select([self.master], [], [], LONGEST)[0] and (data := os.read(self.master, 65536)):
                self.raw += data
                self.stream.feed(data)
                self.screens.append(self.shown)
                return True
        except OSError:  # the other end is closed
            pass
        return False


def on_terminal(
    *argv: object, cwd: Path, columns: int = 100, lines: int = 30, env: Mapping[str, str] | None = None
) -> Terminal:
    """Start a command with its output on a terminal of so many columns and lines."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    around = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    around |= {"TERM": "xterm-256color", **(env or {})}
    with commands.NOTHING.open() as nothing:
        command = commands._begin("dlx", argv, cwd, around, nothing.fileno(), slave, slave)
    os.close(slave)
    return Terminal(columns, lines, master, command)
