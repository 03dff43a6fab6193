"""A process that works at the lowest priority beside a training, and still comes to an end on a busy machine.

Under SCHED_IDLE Linux gives the core back to training at once, where a merely nice process holds it for milliseconds,
many times in a step. On a machine that others keep busy such a process may wait for ever, and without privileges it
cannot take a higher priority again. So a keeper stays at the priority that it was started with and does nothing: it
forks the process that works, and where that is late with what nobody should wait for any longer, raises it, or ends
it and forks another. What has been done by then is known from files, as after any kill.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

LOWEST = 19
"""Niceness of the process that works beside a training, the lowest priority that Unix has."""
STEPS = ((3.0, 10), (30.0, 0))
"""Seconds that the work is late, and its niceness then: about a tenth of the share of another process that wants the
core, and at last an equal one. At least that with which the keeper was started."""
PRIORITY = "DLX_MIRROR_PRIORITY"
"""Environment variable: `normal` lets the process compete with training, where a busy machine leaves it no time."""
LOOK = 1.0
"""Seconds between two looks of the keeper."""

Work = Callable[[bool], int]
"""What is done, to its exit status; the argument says that it should end as soon as it can."""

_KEEPER: list[int] = []
"""The process that keeps this one, if one does."""


def with_keeper(work: Work, is_late: Callable[[], bool]) -> int:
    """Run `work` in a process of the lowest priority, raised or replaced where it is late; return its exit status.

    `is_late` says whether somebody may wait for it now; the keeper asks once in a while.
    """
    if os.environ.get(PRIORITY) == "normal" or not hasattr(os, "fork") or not hasattr(os, "SCHED_IDLE"):
        return work(False)
    keeper = os.getpid()
    child, ends = _fork(work, keeper, None)
    since, step = time.monotonic(), 0
    while not select.select([ends], [], [], LOOK)[0]:  # the pipe closes with the process
        if not is_late():
            if step:
                _become_idle(child)
            since, step = time.monotonic(), 0
        elif step < len(STEPS) and time.monotonic() - since >= STEPS[step][0]:
            nice = max(STEPS[step][1], os.getpriority(os.PRIO_PROCESS, 0))
            step += 1
            if not _raised(child, nice):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(ends)
                child, ends = _fork(work, keeper, nice)
    return abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _fork(work: Work, keeper: int, nice: int | None) -> tuple[int, int]:
    """Fork a process that works, idle or of a niceness; return it and a pipe that closes with it."""
    ends, held = os.pipe()
    child = os.fork()
    if not child:
        os.close(ends)
        _KEEPER.append(keeper)
        _be(work, nice)
    os.close(held)
    return child, ends


def is_orphan() -> bool:
    """Whether the keeper of this process is gone: nothing would raise it."""
    return os.getppid() not in _KEEPER if _KEEPER else False


def _be(work: Work, nice: int | None) -> NoReturn:
    """Be the process that works, to its end."""
    if nice is None:
        _become_idle(0)
    else:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    code = 1
    try:
        code = work(nice is not None)
    except BaseException:  # noqa: BLE001  this is the end of the process, as the interpreter would make it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def share_priority(process: int) -> None:
    """Give a child process the priority of this one, which may have been raised since it was started."""
    if not hasattr(os, "sched_getscheduler"):
        return
    with suppress(OSError):
        os.sched_setscheduler(process, os.sched_getscheduler(0), os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, 0))


def _become_idle(process: int) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, LOWEST)
        os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))


def _raised(process: int, nice: int) -> bool:
    """Raise a process to a niceness; whether that is allowed."""
    try:
        os.sched_setscheduler(process, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, process, nice)
    except OSError:
        return False
    return True
