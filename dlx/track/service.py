"""The mirror that serves many trainings of a store: `python -m dlx.track.service HOME IDLE`.

Importing MLflow and torch takes longer than a small training: this process does it once, and stays for some seconds
after the last delivery. It takes requests of `spool`, follows their runs, has their pictures drawn in another process
(`drawing`), and ends. A file of a package that has changed, or a store that was replaced, makes it begin anew.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from ..utils import imports
from . import at_work, spool, store
from .delivery import Follower
from .drawing import AGAIN, Drawer
from .keeper import is_orphan, with_keeper
from .mirror import draw, draws_nothing
from .scalars import ScalarFiles
from .sync import RunDelivery

LOOK = 0.1
"""Seconds between two looks for requests."""
MOST = 200
"""Trainings that one process serves: another begins with a clean memory."""


class Job:
    """The runs of a request, followed to the end of their training, and drawn."""

    def __init__(self, request: spool.Request) -> None:
        self.request = replace(request, begun=request.begun + 1)
        self.request.write()
        self.each = [RunDelivery(run, request.uri, request.experiment) for run in request.runs]
        for one in self.each:
            one.number = request.number
        self.followers: list[Follower] = [*(ScalarFiles(run) for run in request.runs), *self.each]
        self.locks = ExitStack()
        self.locks.enter_context(at_work.holding(request.runs))
        self.draws = False
        """Whether its pictures are being drawn."""

    def poll(self) -> float:
        """Deliver what is new; return the seconds until the next look."""
        gone = not self.request.trains
        return min((one.poll(gone) for one in self.followers if one.code is None), default=LOOK)

    @property
    def is_delivered(self) -> bool:
        """Whether all has been delivered, or could not be."""
        return all(one.code is not None for one in self.followers)

    @property
    def is_gone(self) -> bool:
        """Whether all of its folders were removed."""
        return not any(run.is_dir() for run in self.request.runs)

    def draw(self, drawer: Drawer) -> bool:
        """Have the pictures of what has arrived drawn, and deliver them; return whether that has come to its end."""
        if any(one.code for one in self.followers):
            return True
        if draws_nothing() or os.name != "posix":
            draw(self.each)
            return True
        if not self.draws:
            drawer.begin([one.folder.dir for one in self.each])
            self.draws = True
        if (problems := drawer.problems()) is None:
            return False
        for one, own in zip(self.each, problems, strict=True):
            for problem in [*own, one.sync().error]:
                one.tell(problem)
        return True

    def leave(self) -> None:
        """Leave it to another process, as if this one had not begun it."""
        replace(self.request, begun=self.request.begun - 1).write()
        self.locks.close()

    def close(self) -> None:
        """Take away the request, and what says that it is at work."""
        self.request.path.unlink(missing_ok=True)
        self.locks.close()


class Service:
    """What is served for one store, from the first request to the last and the seconds after it."""

    def __init__(self, home: Path, idle: float) -> None:
        self.home, self.idle = home, idle
        self.jobs: list[Job] = []
        self.served = 0
        self.files = imports.Files()
        self.drawer = Drawer(home)
        self.store: object = None
        """Which file the store was when it was first seen."""
        self.is_old = False
        """Whether a request was made after the code had changed."""

    def serve(self) -> int:
        """Serve until nothing was asked for `idle` seconds; return 0, or AGAIN where another process is to go on."""
        lock = FileLock(self.home / spool.SERVED)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return 0
        spool.prune(self.home)
        try:
            return self._serve(lock)
        finally:
            self.drawer.close()

    def _serve(self, lock: FileLock) -> int:
        if not spool.requests(self.home):
            store.load()  # it was started ahead of a training that will ask
        last = time.monotonic()
        while not is_orphan():
            self.take()
            if self.jobs and self.is_outdated():
                for job in self.jobs:
                    job.leave()
                return AGAIN
            pause = min((self.step(job) for job in list(self.jobs)), default=LOOK)
            if self.jobs:
                last = time.monotonic()
            elif time.monotonic() - last >= self.idle and self.closes(lock):
                return 0
            time.sleep(min(pause, LOOK))
        return 1

    def take(self) -> None:
        """Begin the requests that are new."""
        known = {job.request.number for job in self.jobs}
        for request in spool.requests(self.home):
            if request.number in known:
                continue
            if request.begun >= spool.TRIES:  # each that began it was ended by something
                request.path.unlink(missing_ok=True)
                continue
            try:
                self.jobs.append(Job(request))
            except Exception as error:  # noqa: BLE001  a folder that is gone, or damaged
                self.lose(request, error)
            self.served += 1
            self.is_old = self.is_old or self.files.have_changed()

    def step(self, job: Job) -> float:
        """Deliver or draw what is next of a request; return the seconds until the next look."""
        try:
            if not job.is_delivered and not job.is_gone:
                return job.poll()
            # one at a time: there is one process that draws
            if not job.is_gone and any(other.draws for other in self.jobs if other is not job):
                return LOOK
            if not job.is_gone and not job.draw(self.drawer):
                return LOOK
        except Exception as error:  # noqa: BLE001  `dlx runs sync` tries again; the other requests go on
            self.lose(job.request, error)
        job.close()
        self.jobs.remove(job)
        self.files.have_changed()  # what was imported on the way is known from here on
        return 0.0

    def lose(self, request: spool.Request, error: Exception) -> None:
        """Say in the log why a request is left, and take it away."""
        print(f"{request.runs}: {type(error).__name__}: {error}", flush=True)
        request.path.unlink(missing_ok=True)

    def is_outdated(self) -> bool:
        """Whether this process has other code than the disk, or has served many, or the store is another file."""
        path = store.sqlite_path(self.jobs[0].request.uri)
        found = identity(path) if path is not None else None
        self.store = self.store or found
        return found != self.store or self.served > MOST or self.is_old

    def closes(self, lock: FileLock) -> bool:
        """End the service, unless a request was made in the meantime."""
        with FileLock(self.home / spool.DOOR):
            if spool.requests(self.home):
                return False
            lock.release()
            return True


def identity(path: Path) -> object:
    """Return which file a path is now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def main() -> int:
    """Run the service, beside trainings at the lowest priority."""
    imports.own_process()
    home, idle = Path(sys.argv[1]), float(sys.argv[2])
    code = with_keeper(lambda ends: Service(home, 0.0 if ends else idle).serve(), lambda: spool.is_late(home))
    if code == AGAIN:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "dlx.track.service", *sys.argv[1:]])  # noqa: S606
    return code


if __name__ == "__main__":
    sys.exit(main())
