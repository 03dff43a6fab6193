"""The mirror beside a training: a process of its own, which the training starts and does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import secrets
from ..errors import DlxError
from ..runs import RECORDS, Run, alive
from . import model, store
from .sync import Synced, sync

PAUSE, LOOK = 1.0, 0.1
"""Seconds between two deliveries, and between two looks at the folder."""

TRIES = 2
"""Deliveries that may fail after the end; what is missing then waits for `dlx runs sync`."""

LOG = "mlflow.log"

LAST = 19
"""As nice as a process can be."""

_STARTED: list[subprocess.Popen[bytes]] = []
"""Kept, so that a mirror which outlives its Mirror is still waited for, by the next `start`."""


@dataclass(frozen=True)
class Mirror:
    """A mirror on its way; `trouble` says why there is none."""

    run: Run
    process: subprocess.Popen[bytes] | None
    trouble: str = ""
    shared: bool = False
    """Whether the process mirrors other runs too."""

    def finish(self, timeout: float) -> str:
        """`delivered`; `behind`, if it still goes on by itself after `timeout` seconds; or `failed: why`."""
        if self.process is None:
            return f"failed: {self.trouble}"
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return "behind"
        error = self._error()
        if code == 0 or (self.shared and not error):
            return "delivered"
        return f"failed: {error or f'the mirror ended with {code}; {self.run.dir / LOG} says more'}"

    def _error(self) -> str:
        try:
            return str(self.run.read_json("mlflow.json").get("error", ""))
        except DlxError as unreadable:
            return str(unreadable)


def start(run: Run, uri: str | None = None, experiment: str | None = None) -> Mirror:
    """Set a process to mirroring `run` until this process has ended it. Takes milliseconds and never raises."""
    return start_all([run], uri, experiment)[0]


def start_all(runs: Sequence[Run], uri: str | None = None, experiment: str | None = None) -> list[Mirror]:
    """The same for several runs that are trained side by side: one process for all of them."""
    command = ["dlx.track", *(str(run.dir.absolute()) for run in runs), "--follow", str(os.getpid())]
    try:
        process = launched(command, runs[0].dir / LOG, uri, experiment)
    except OSError as error:
        return [Mirror(run, None, f"the mirror could not be started: {error}") for run in runs]
    return [Mirror(run, process, shared=len(runs) > 1) for run in runs]


def launched(
    command: Sequence[str], log: Path, uri: str | None, experiment: str | None, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """A module of dlx, with its arguments, as a process that outlives this one. OSError where there can be none."""
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    whole = [sys.executable, "-P", "-m", *command]
    whole += ["--uri", secrets.remembered(uri)] if uri else []
    whole += ["--experiment", experiment] if experiment else []
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603
            whole,
            stdin=stdin,
            stdout=out,
            stderr=out,
            env={"OMP_NUM_THREADS": "1"}
            | os.environ
            | {"PYTHONPATH": _path(), "CUDA_VISIBLE_DEVICES": ""}
            | secrets.for_children(),
            process_group=0,  # Ctrl-C is for the training
        )
    _STARTED.append(process)
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, LAST)
        # Linux then takes a core back at once, from a nice process only after milliseconds, many times in a step; and
        # only among processes of one session, so this one has none of its own
        os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    return process


def _path() -> str:
    """Where this dlx lies, first, for a process that does not look into the working directory."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])


class Following:
    """One run that is mirrored until it has ended, or the training is gone."""

    def __init__(self, run: Run, parent: int, uri: str | None, experiment: str | None) -> None:
        self.run, self.parent = run, parent
        self.uri, self.experiment = store.tracking_uri(run, uri), store.experiment_name(run, experiment)
        self.seen, self.due, self.failures = (-1, -1), 0.0, 0
        self.code: int | None = None
        """0 where all has arrived; None as long as more may come."""

    def look(self) -> float:
        """Deliver what has come; when to look again."""
        over = self.run.end() is not None or not alive(self.parent)
        now = _glance(self.run)
        if over or (now != self.seen and time.monotonic() >= self.due):
            result = sync(self.run, self.uri, self.experiment)
            self.failures = _note(result, self.failures)
            if over and (result.complete or self.failures >= TRIES):
                self.code = 0 if result.complete else 1
            self.seen = now if result.complete else self.seen
            self.due = time.monotonic() + min(PAUSE * 2**self.failures, 30)
            if result.complete and not over:
                model.load_guests()
        return PAUSE if over else LOOK


def follow(runs: Sequence[Run], parent: int, uri: str | None = None, experiment: str | None = None) -> int:
    """Deliver what comes until all runs have ended or the training is gone. 0 where all has arrived."""
    each = [Following(run, parent, uri, experiment) for run in runs]
    while True:
        pause = min(one.look() for one in each if one.code is None)
        if all(one.code is not None for one in each):
            return max(one.code or 0 for one in each)
        time.sleep(pause)


def _glance(run: Run) -> tuple[int, int]:
    """Changes whenever a record was written, and when a file beside the records was."""
    path = run.dir / RECORDS
    return (path.stat().st_size if path.exists() else 0), (run.dir / "plan.json").exists()


def _note(result: Synced, failures: int) -> int:
    """Say in the log what went wrong, and how often it has by now."""
    if result.complete:
        return 0
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {result.error}", flush=True)
    return failures + 1
