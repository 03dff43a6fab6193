"""A process that works at the lowest priority beside a training, and still comes to an end on a busy machine.

Under SCHED_IDLE Linux gives the core back to training at once, where a merely nice process holds it for milliseconds,
many times in a step. On a machine that others keep busy such a process may wait for ever, and without privileges it
cannot take a higher priority again. So a keeper stays at a moderate niceness and does nothing: it forks the process
that works, and where that is late with what nobody should wait for any longer, raises it, or ends it and does
the work itself. What has been done by then is known from files, as after any kill.
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
MODERATE = 10
"""Niceness once its training has ended: about a tenth of the share of another process that wants the core."""
PATIENCE = 3.0
"""Seconds that the work may be late at the lowest priority."""
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
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(MODERATE, os.getpriority(os.PRIO_PROCESS, 0)))
    ends, held = os.pipe()
    keeper = os.getpid()
    child = os.fork()
    if not child:
        os.close(ends)
        _KEEPER.append(keeper)
        _be(work)
    os.close(held)
    return _keep(child, ends, work, is_late)


def is_orphan() -> bool:
    """Whether the keeper of this process is gone: nothing would raise it."""
    return os.getppid() not in _KEEPER if _KEEPER else False


def _be(work: Work) -> NoReturn:
    """Be the process that works, to its end."""
    _become_idle(0)
    code = 1
    try:
        code = work(False)
    except BaseException:  # noqa: BLE001  this is the end of the process, as the interpreter would make it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _keep(child: int, ends: int, work: Work, is_late: Callable[[], bool]) -> int:
    """Wait for the end of a process; raise it while it is late, or end it and do the work here."""
    since, raised = None, False
    while not select.select([ends], [], [], LOOK)[0]:  # the pipe closes with the process
        if not is_late():
            if raised:
                _become_idle(child)
            since, raised = None, False
            continue
        since = since or time.monotonic()
        if not raised and time.monotonic() - since >= PATIENCE:
            raised = _raised(child)
            if not raised:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return work(True)
    return abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _become_idle(process: int) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, LOWEST)
        os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))


def _raised(process: int) -> bool:
    """Raise a process to the moderate niceness; whether that is allowed."""
    try:
        os.sched_setscheduler(process, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, process, MODERATE)
    except OSError:
        return False
    return True
