"""Mirror process beside a training or a sweep, which they start and do not wait for: to MLflow, and to files of
scalars.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import DlxError
from ..runs.folder import RunFolder
from ..utils import passwords
from . import at_work
from .delivery import STATE_FILE, Delivery, Follower, follow
from .system_metrics import SystemMetrics

LOG = "mlflow.log"

LOOK = 0.02
"""Seconds between two looks at what the mirror has delivered."""
PICTURES = "dlx.report.artifacts"
"""Module whose `write` draws the pictures of a folder at the end: a floor above, named and not imported here."""
LOWEST_PRIORITY = 19
"""Niceness of the mirror, the lowest priority that Unix has."""
PRIORITY = "DLX_MIRROR_PRIORITY"
"""Environment variable: `normal` lets the mirror compete with training, where a busy machine leaves it no time."""

FIGURES = "DLX_MIRROR_FIGURES"
"""Environment variable: `none` keeps the mirror from drawing pictures, where their seconds are wanted for others."""

_STARTED: list[subprocess.Popen[bytes]] = []
"""Processes that were started. Kept so that one which outlives its Mirror is reaped by the next `start`."""


@dataclass(frozen=True)
class Mirror:
    """Mirror process that was started, or the `error` that kept it from starting."""

    run: RunFolder
    process: subprocess.Popen[bytes] | None
    error: str = ""
    shared: bool = False
    """Whether the process mirrors other runs too."""
    mlflow: bool = True
    """Whether it mirrors to MLflow; else to files alone."""
    began: float = field(default_factory=time.time)

    def close_input(self) -> None:
        """Tell the mirror of a sweep that the sweep has ended; it delivers the rest by itself."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def finish(self, timeout: float) -> str:
        """Wait up to `timeout` seconds, and return `delivered`, `behind` (it goes on by itself) or `failed: why`."""
        self.close_input()
        if self.process is None:
            return f"failed: {self.error}"
        until = time.monotonic() + timeout
        while (code := self.process.poll()) is None:
            if self._has_delivered(self.process.pid):
                return "delivered"  # pictures are drawn by it after that, for which nobody waits
            if time.monotonic() >= until:
                error = self._error() if self._has_tried() else ""
                return f"failed: {error}" if error else "behind"
            time.sleep(LOOK)
        error = self._error()
        if code == 0 or (self.shared and self.mlflow and not error):
            return "delivered"
        return f"failed: {error or f'the mirror ended with {code}; {self.run.dir / LOG} says more'}"

    def _has_delivered(self, pid: int) -> bool:
        """Whether the process has delivered all there was at the end."""
        try:
            return self.run.read_json(STATE_FILE).get("delivered_by") == pid
        except DlxError:
            return False

    def _has_tried(self) -> bool:
        """Whether the state in the folder is of this mirror, and not of an earlier one."""
        with suppress(OSError):
            return (self.run.dir / STATE_FILE).stat().st_mtime >= self.began
        return False

    def _error(self) -> str:
        if not self.mlflow:
            return ""
        try:
            return str(self.run.read_json(STATE_FILE).get("error", ""))
        except DlxError as unreadable:
            return str(unreadable)


def start(run: RunFolder, uri: str | None = None, experiment: str | None = None, *, mlflow: bool = True) -> Mirror:
    """Start a process that mirrors `run` until this process has ended it. Takes milliseconds and never raises."""
    return start_all([run], uri, experiment, mlflow=mlflow)[0]


def start_all(
    runs: Sequence[RunFolder],
    uri: str | None = None,
    experiment: str | None = None,
    module: str = "dlx.track",
    stdin: int = subprocess.DEVNULL,
    *,
    mlflow: bool = True,
    system_metrics: bool = False,
) -> list[Mirror]:
    """Start one process that mirrors several runs which are trained together; arguments as `start`.

    Without `mlflow` it writes files alone; with `system_metrics` it measures the machine.
    """
    more = ["--uri", passwords.mask_and_remember(uri)] if uri else []
    more += ["--experiment", experiment] if experiment else []
    more += [] if mlflow else ["--files-only"]
    more += ["--system-metrics"] if system_metrics else []
    try:
        process = _launch(module, runs, more, stdin)
    except OSError as error:
        return [Mirror(run, None, f"the mirror could not be started: {error}") for run in runs]
    return [Mirror(run, process, shared=len(runs) > 1, mlflow=mlflow) for run in runs]


def _launch(module: str, runs: Sequence[RunFolder], more: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    """Start a module that delivers runs, as a process that outlives this one. Raises OSError if it cannot.

    Other users of the machine can read a command line: a password goes through the environment, masked here.
    """
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    whole = [sys.executable, "-P", "-m", module, *(str(run.dir.absolute()) for run in runs)]
    whole += ["--follow", str(os.getpid()), *more]
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
    if os.environ.get(PRIORITY) == "normal":
        return process
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
        # under SCHED_IDLE Linux gives the core back to training at once, where a merely nice process keeps it for
        # milliseconds, many times in a step; that works only within a session, hence no `start_new_session` above
        os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    return process


def _path() -> str:
    """Return PYTHONPATH with the folder of this dlx first: `-P` keeps the working directory out of `sys.path`."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])


def main(kind: type[Delivery[Any]], prog: str, files: Callable[[Path], Follower]) -> int:
    """Run the mirror: deliver what some folders hold, or follow them. Returns 0 if all has arrived."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description="Deliver to MLflow.")
    parser.add_argument("folder", nargs="+", type=Path)
    parser.add_argument(
        "--uri", help="MLflow's tracking URI; else the spec's, the environment's, the runs' own store"
    )
    parser.add_argument("--experiment", help="MLflow's experiment; else the spec's name")
    parser.add_argument("--follow", type=int, metavar="PID", help="go on until this process has ended")
    parser.add_argument("--files-only", action="store_true", help="write files, and no MLflow")
    parser.add_argument("--system-metrics", action="store_true", help="measure the machine beside the training")
    args = parser.parse_args()
    each = [kind(folder, args.uri, args.experiment) for folder in args.folder]
    if args.follow:
        with at_work.holding(args.folder):
            return _followed(each, args, files)
    results = [one.sync() for one in each]
    print(*results, sep="\n")
    return 0 if all(result.complete for result in results) else 1


def _followed(each: Sequence[Delivery[Any]], args: argparse.Namespace, files: Callable[[Path], Follower]) -> int:
    """Follow folders to the end of their training, then draw their pictures."""
    machine = [SystemMetrics(args.folder)] if args.system_metrics else []
    # the files first: they are whole when MLflow has the end
    followers = [*map(files, args.folder), *machine, *([] if args.files_only else each)]
    code = follow(followers, each[0].watch(args.follow))
    if code == 0 and not args.files_only:
        draw(each)
    return code


def draw(each: Sequence[Delivery[Any]]) -> None:
    """Draw the pictures of folders that have been delivered, and deliver these; what is wrong goes to the log."""
    wanted = os.environ.get(FIGURES) != "none"
    write = import_module(PICTURES).write if wanted else lambda _: []
    for one in each:
        if not wanted and not one.is_behind():
            continue
        try:
            for problem in write(one.folder.dir):
                print(problem, flush=True)
        except Exception as error:  # noqa: BLE001  all else has arrived, and `dlx runs sync` tries again
            print(f"{one.folder.key} has no pictures: {type(error).__name__}: {error}", flush=True)
        if not (result := one.sync()).complete:
            print(result.error, flush=True)
