"""Whether a mirror is at work on a folder: it holds a lock there, which opens with any end of its process.

Mirrors wait for each other as long as it takes. Nobody sits in front of them; who sits in front of `dlx runs sync` is
told what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DlxError

LOCK = "mirror.lock"
LOOK = 0.05
"""Seconds between two looks at a mirror that is waited for."""
PROBE = 0.2
"""Seconds in which who only asks for a lock has left it."""
UNSAID = 1.0
"""Seconds that are waited without a word."""
PATIENCE = 90.0
"""Seconds without a sign of another delivery of the folder after which it is given up, where somebody waits for it: a
minute more than its keeper takes to give it an equal share of a busy machine."""

Say = Callable[[Path], None]
"""What says, once for a folder, that its other process is waited for."""

_SAY: ContextVar[tuple[Say, float] | None] = ContextVar("_SAY", default=None)


class BusyError(DlxError):
    """Another process has been at work on a folder for too long."""


@contextmanager
def impatient(say: Say, *, endless: bool = False) -> Iterator[None]:
    """Let `held` say what is waited for, and give up after PATIENCE: a starved process may hold a lock for long.

    `endless`: the mirror of a run that has ended is waited for, which may begin with it this moment.
    """
    before = _SAY.set((say, -1.0 if endless else PATIENCE))
    try:
        yield
    finally:
        _SAY.reset(before)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock in a folder, which another process that delivers it may have.

    Raises BusyError if `impatient`, and DlxError where the folder was removed: the lock would make it anew.
    """
    if not path.parent.is_dir():
        raise DlxError("it was removed")
    lock, impatience = FileLock(path, poll_interval=LOOK), _SAY.get()
    try:
        lock.acquire(timeout=-1 if impatience is None else UNSAID)
    except Timeout:
        assert impatience is not None
        say, patience = impatience
        say(path.parent)
        _wait(lock, path.parent, patience)
    try:
        yield
    finally:
        lock.release()


def _wait(lock: FileLock, folder: Path, patience: float) -> None:
    """Wait for a lock as long as its process gets on: on a busy machine a delivery takes minutes.

    Raises BusyError after `patience` seconds in which it has recorded nothing that has arrived.
    """
    before = _newest(folder)
    while True:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            if (newest := _newest(folder)) != before:
                before = newest
                continue
            text = f"another process is delivering it, and has recorded nothing for {PATIENCE:.0f} seconds"
            raise BusyError(f"{text}; `dlx runs sync` sends later what it leaves out") from None
        return


def _newest(folder: Path) -> int:
    """Return when it was last recorded in a folder what of it has arrived."""
    with suppress(OSError):
        return max((one.stat().st_mtime_ns for one in folder.glob("mlflow*.json")), default=0)
    return 0


@contextmanager
def holding(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the locks of folders; one that the mirror of an earlier training of the run still has is left to it."""
    with ExitStack() as stack:
        for folder in folders:
            with suppress(Timeout, OSError):
                stack.enter_context(FileLock(folder / LOCK, timeout=PROBE))
        yield


def is_at_work(folder: Path) -> bool:
    """Whether a mirror delivers this folder now, or draws its pictures."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except OSError as error:  # Timeout is one; who may not write there learns why from the delivery itself
        return isinstance(error, Timeout)


def wait(folder: Path, say: Say = lambda _: None) -> bool:
    """Wait for the mirror at work on a folder, and say so where it takes a while; whether there was one."""
    if not is_at_work(folder):
        return False
    lock = FileLock(folder / LOCK, poll_interval=LOOK)
    try:
        lock.acquire(timeout=UNSAID)
    except Timeout:
        say(folder)
        lock.acquire()
    lock.release()
    return True


def wait_all(folders: Sequence[Path], say: Say = lambda _: None) -> set[Path]:
    """Wait for the mirrors at work on folders, and return those of them that had one.

    A mirror begins with some while others are waited for: it is looked for until none is there.
    """
    waited: set[Path] = set()
    while found := {folder for folder in folders if wait(folder, say)}:
        waited |= found
    return waited
