"""Ctrl-C in a training: the first one halts it after the updates on their way, the second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from ..training.fit import Job


@dataclass
class Interrupt:
    """Whether Ctrl-C was pressed."""

    pressed: bool = False


@contextmanager
def halting(jobs: Callable[[], Sequence[Job]]) -> Iterator[Interrupt]:
    """Let the first Ctrl-C halt the jobs in the block, whose whole state is then saved.

    An update that was cut in two could not be gone on with to the same bits. Where someone else handles Ctrl-C, as a
    sweep does, or this is not the main thread, it stays theirs.
    """
    interrupt = Interrupt()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return

    def halt(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupt.pressed = True
        for job in jobs():
            job.progress.interrupt()

    signal.signal(signal.SIGINT, halt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
