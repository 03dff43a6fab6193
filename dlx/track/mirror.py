"""The mirror beside a training: a process of its own, which the training starts and does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import DlxError
from ..runs import RECORDS, Run, alive
from . import model, store
from .sync import Synced, sync

PAUSE, LOOK = 1.0, 0.1
"""Seconds between two deliveries, and between two looks at the folder."""

TRIES = 2
"""Deliveries that may fail after the end; what is missing then waits for `dlx runs sync`."""

_STARTED: list[subprocess.Popen[bytes]] = []
"""Kept, so that a mirror which outlives its Mirror is still waited for, by the next `start`."""


@dataclass(frozen=True)
class Mirror:
    """A mirror on its way; `trouble` says why there is none."""

    run: Run
    process: subprocess.Popen[bytes] | None
    trouble: str = ""

    def finish(self, timeout: float) -> str:
        """`delivered`; `behind`, if it still goes on by itself after `timeout` seconds; or `failed: why`."""
        if self.process is None:
            return f"failed: {self.trouble}"
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return "behind"
        return "delivered" if code == 0 else f"failed: {self._why(code)}"

    def _why(self, code: int) -> str:
        try:
            error = str(self.run.read_json("mlflow.json").get("error", ""))
        except DlxError as unreadable:
            error = str(unreadable)
        return error or f"the mirror ended with {code}; {self.run.dir / 'mlflow.log'} says more"


def start(run: Run, uri: str | None = None, experiment: str | None = None) -> Mirror:
    """Set a process to mirroring `run` until this process has ended it. Takes milliseconds and never raises."""
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    command = [sys.executable, "-P", "-m", "dlx.track", str(run.dir.absolute()), "--follow", str(os.getpid())]
    command += ["--uri", uri] if uri else []
    command += ["--experiment", experiment] if experiment else []
    try:
        with (run.dir / "mlflow.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": _path()},
                start_new_session=True,  # Ctrl-C is for the training
            )
    except OSError as error:
        return Mirror(run, None, f"the mirror could not be started: {error}")
    _STARTED.append(process)
    return Mirror(run, process)


def _path() -> str:
    """Where this dlx lies, first, for a process that does not look into the working directory."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])


def follow(run: Run, parent: int, uri: str | None = None, experiment: str | None = None) -> int:
    """Deliver what comes until the run has ended or the training is gone. 0 where all has arrived."""
    uri, experiment = store.tracking_uri(run, uri), store.experiment_name(run, experiment)
    seen, due, failures = (-1, -1), 0.0, 0
    while True:
        over = run.end() is not None or not alive(parent)
        now = _glance(run)
        if over or (now != seen and time.monotonic() >= due):
            result = sync(run, uri, experiment)
            failures = _note(result, failures)
            if over and (result.complete or failures >= TRIES):
                return 0 if result.complete else 1
            seen = now if result.complete else seen
            due = time.monotonic() + min(PAUSE * 2**failures, 30)
            if result.complete and not over:
                model.load_guests()
        time.sleep(PAUSE if over else LOOK)


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
