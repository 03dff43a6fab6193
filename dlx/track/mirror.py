"""The mirror beside a training or a sweep: a process of its own, which they start and do not wait for."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DlxError
from ..runs.folder import Run
from ..utils import passwords
from .delivery import MEMORY, Delivery, follow

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

    def leave(self) -> None:
        """Say that a sweep has ended; the mirror delivers the rest by itself."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def finish(self, timeout: float) -> str:
        """`delivered`; `behind`, if it still goes on by itself after `timeout` seconds; or `failed: why`."""
        self.leave()
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
            return str(self.run.read_json(MEMORY).get("error", ""))
        except DlxError as unreadable:
            return str(unreadable)


def start(run: Run, uri: str | None = None, experiment: str | None = None) -> Mirror:
    """Set a process to mirroring `run` until this process has ended it. Takes milliseconds and never raises."""
    return start_all([run], uri, experiment)[0]


def start_all(
    runs: Sequence[Run],
    uri: str | None = None,
    experiment: str | None = None,
    module: str = "dlx.track",
    stdin: int = subprocess.DEVNULL,
) -> list[Mirror]:
    """The same for several runs that are trained side by side: one process for all of them."""
    try:
        process = _launched(module, runs, uri, experiment, stdin)
    except OSError as error:
        return [Mirror(run, None, f"the mirror could not be started: {error}") for run in runs]
    return [Mirror(run, process, shared=len(runs) > 1) for run in runs]


def _launched(
    module: str, runs: Sequence[Run], uri: str | None, experiment: str | None, stdin: int
) -> subprocess.Popen[bytes]:
    """A module that delivers runs, as a process that outlives this one. OSError where there can be none."""
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    whole = [sys.executable, "-P", "-m", module, *(str(run.dir.absolute()) for run in runs)]
    whole += ["--follow", str(os.getpid())]
    whole += ["--uri", passwords.mask_and_remember(uri)] if uri else []
    whole += ["--experiment", experiment] if experiment else []
    with (runs[0].dir / LOG).open("ab") as out:
        process = subprocess.Popen(  # noqa: S603
            whole,
            stdin=stdin,
            stdout=out,
            stderr=out,
            env={"OMP_NUM_THREADS": "1"}
            | os.environ
            | {"PYTHONPATH": _path(), "CUDA_VISIBLE_DEVICES": ""}
            | passwords.for_children(),
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


def main(kind: type[Delivery[Any]], prog: str) -> int:
    """The mirror itself: deliver what stands in some folders, or all that comes. 0 where all has arrived."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description="Deliver to MLflow.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument(
        "--uri", help="MLflow's tracking URI; else the spec's, the environment's, the runs' own store"
    )
    parser.add_argument("--experiment", help="MLflow's experiment; else the spec's name")
    parser.add_argument("--follow", type=int, metavar="PID", help="go on until this process has ended")
    asked = parser.parse_args()
    each = [kind(folder, asked.uri, asked.experiment) for folder in asked.folder]
    if asked.follow:
        return follow(each, each[0].watch(asked.follow))
    results = [one.sync() for one in each]
    print(*results, sep="\n")
    return 0 if all(result.complete for result in results) else 1
