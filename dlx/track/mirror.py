"""Mirror process beside a training or a sweep, which they start and do not wait for: to MLflow, and to files of
scalars.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import DlxError
from ..plugins import FOLDER as PLUGINS
from ..runs.folder import RunFolder, alive
from ..utils import environment, passwords
from . import arrivals, at_work, spool, store
from .delivery import LOG, STATE_FILE, Delivery, Follower, follow
from .keeper import PRIORITY, with_keeper
from .system_metrics import SystemMetrics

LOOK = 0.02
"""Seconds between two looks at what the mirror has delivered."""
FILES_TIMEOUT = 10.0
"""Seconds that the end of a command waits for a mirror to files alone. For MLflow waits `dlx runs sync --wait`."""
PICTURES = "dlx.report.artifacts"
"""Module whose `write` draws the pictures of a folder at the end: a floor above, named and not imported here."""
OF_RUNS, SERVICE = "dlx.track", "dlx.track.service"
"""Modules that mirror the runs of one training, and those of many."""
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
    request: spool.Request | None = None
    """What was asked of a mirror that serves many trainings; `process` is the one that was started for it, if any."""
    began: float = field(default_factory=time.time)

    def close_input(self) -> None:
        """Tell the mirror of a sweep that the sweep has ended; it delivers the rest by itself."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def finish(self, timeout: float) -> str:
        """Wait up to `timeout` seconds, and return `delivered`, `behind` (it goes on by itself) or `failed: why`."""
        self.close_input()
        if self.process is None and self.request is None:
            return f"failed: {self.error}"
        until = time.monotonic() + timeout
        one = self
        while one._goes_on() or (one := one._taken_up())._goes_on():
            if one._has_delivered():
                return "delivered"  # pictures are drawn by it after that, for which nobody waits
            if time.monotonic() >= until:
                error = one._error() if one._has_tried() else ""
                return f"failed: {error}" if error else "behind"
            time.sleep(LOOK)
        return one._outcome()

    def _outcome(self) -> str:
        """Return how it has ended."""
        error = self._error()
        if self._has_ended_well(error):
            return "delivered"
        code = self.process.poll() if self.process is not None else None
        how = f"ended with {code}" if self.request is None else "has ended"
        log = (self.request.home if self.request is not None else self.run.dir) / LOG
        return f"failed: {error or f'the mirror {how}; {log} says more'}"

    def at_end(self, until: float) -> str:
        """Return how it stands at the end of its command: MLflow is not waited for, files are until a monotonic time.

        As `finish` says it; empty where files alone were asked for, and are written.
        """
        if self.mlflow:
            return self.finish(0.0)
        state = self.finish(max(0.0, until - time.monotonic()))
        return "" if state == "delivered" else state

    def _has_ended_well(self, error: str) -> bool:
        """Whether the mirror, which is at its end, has delivered all."""
        if self.request is not None:
            return not error and not arrivals.is_behind(self.run)
        return (self.process is not None and self.process.poll() == 0) or (self.shared and self.mlflow and not error)

    def _goes_on(self) -> bool:
        """Whether there is a process that delivers."""
        has_ended = self.process is None or self.process.poll() is not None
        if self.request is None:
            return not has_ended
        return self.request.is_open and not (has_ended and not spool.is_served(self.request.home))

    def _taken_up(self) -> Mirror:
        """Return it with a process that takes up its request, where nobody serves it and all before have ended well.

        The process that was to serve it was killed, or begins anew with the code that is on disk now.
        """
        request = self.request
        if request is None or (self.process is not None and self.process.poll() != 0):
            return self
        with suppress(OSError), FileLock(request.home / spool.DOOR, timeout=spool.DOOR_SECONDS):
            return replace(self, process=_served(request.home)) if request.is_open else self
        return self

    def _has_delivered(self) -> bool:
        """Whether the mirror has delivered all there was at the end."""
        number = self.request.number if self.request is not None else self.process.pid if self.process else 0
        try:
            return self.run.read_json(STATE_FILE).get("delivered_by") == number
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
    if module == OF_RUNS and mlflow and not system_metrics and (mirrors := _asked(runs, uri, experiment)):
        return mirrors
    more = ["--uri", passwords.mask_and_remember(uri)] if uri else []
    more += ["--experiment", experiment] if experiment else []
    more += [] if mlflow else ["--files-only"]
    more += ["--system-metrics"] if system_metrics else []
    try:
        process = _launch(module, runs, more, stdin)
    except OSError as error:
        return [Mirror(run, None, f"the mirror could not be started: {error}") for run in runs]
    return [Mirror(run, process, shared=len(runs) > 1, mlflow=mlflow) for run in runs]


def _asked(runs: Sequence[RunFolder], uri: str | None, experiment: str | None) -> list[Mirror]:
    """Ask the mirror of a store for these runs, and start it where there is none; empty where they need their own.

    The kinds that a spec's plugins define stay in a process, so those have none beside them.
    """
    if experiment is None or any((run.dir / PLUGINS).is_dir() for run in runs):
        return []
    address = store.tracking_uri(runs[0], uri, reads_spec=False)
    process, request = None, None
    try:
        if not spool.idle_seconds():
            return []
        with _at_the_door(address) as home:
            request = spool.ask(home, [run.dir.absolute() for run in runs], address, experiment)
            process = _served(home)
    except (DlxError, OSError, Timeout):
        if request is not None:
            request.path.unlink(missing_ok=True)
        return []
    return [Mirror(run, process, shared=len(runs) > 1, request=request) for run in runs]


def begin(root: Path, uri: str | None = None) -> None:
    """Start the mirror of a store ahead of the runs that will ask it; what keeps it from starting shows then.

    It imports MLflow while the training imports torch: after that both have their own to do, on one core less.
    """
    address = store.tracking_uri(RunFolder(root / "name" / "id"), uri, reads_spec=False)
    with suppress(DlxError, OSError, Timeout):
        if spool.idle_seconds():
            with _at_the_door(address) as home:
                _served(home)


@contextmanager
def _at_the_door(address: str) -> Iterator[Path]:
    """Hold the door of a store's mirror; yield the folder of its requests."""
    home = spool.folder_of(address)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(home / spool.DOOR, timeout=spool.DOOR_SECONDS):
        yield home


def _served(home: Path) -> subprocess.Popen[bytes] | None:
    """Start the mirror that serves a folder of requests, holding its door; None where one is there."""
    if spool.is_served(home):
        return None
    words = [str(home), str(spool.idle_seconds())]
    return _begin(SERVICE, words, home / LOG, subprocess.DEVNULL)


def _launch(module: str, runs: Sequence[RunFolder], more: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    """Start a module that delivers runs, as a process that outlives this one. Raises OSError if it cannot."""
    folders = [str(run.dir.absolute()) for run in runs]
    return _begin(module, [*folders, "--follow", str(os.getpid()), *more], runs[0].dir / LOG, stdin)


def _begin(module: str, words: Sequence[str], log: Path, stdin: int) -> subprocess.Popen[bytes]:
    """Start a module in a process of its own, its output in a file.

    Other users of the machine can read a command line: a password goes through the environment, masked here.
    """
    _STARTED[:] = [process for process in _STARTED if process.poll() is None]
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", module, *words],
            stdin=stdin,
            stdout=out,
            stderr=out,
            env=child_environment(),
            # Ctrl-C is for the training. No session of its own: priorities would hold among its processes alone
            process_group=0,
        )
    _STARTED.append(process)
    return process


def child_environment() -> dict[str, str]:
    """Return the environment of a mirror: one thread, no GPU, and this dlx first.

    `-P` keeps the working directory out of `sys.path`.
    """
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(Path(__file__).parents[2]), *([known] if known else [])])
    own = {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    return {"OMP_NUM_THREADS": "1"} | os.environ | own | passwords.for_children()


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
        number, training = os.getpid(), args.follow
        for one in each:
            one.number = number

        def work(_: bool) -> int:
            with at_work.holding(args.folder):
                return _followed(each, args, files)

        return with_keeper(work, lambda: not alive(training) or any(one.has_ended() for one in each))
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


def draws_nothing() -> bool:
    """Whether the environment asks for no pictures. DlxError where it says something else."""
    return environment.is_set(FIGURES, "none")


def check_environment() -> None:
    """Raise DlxError where an environment variable of mirrors says nothing that it takes."""
    spool.idle_seconds()
    environment.is_set(PRIORITY, "normal")
    draws_nothing()


def pictures_of(run: RunFolder) -> list[str]:
    """Draw the pictures of a folder that has been delivered; return what kept some from being drawn."""
    if draws_nothing():
        return []
    try:
        problems: list[str] = import_module(PICTURES).write(run.dir)
    except Exception as error:  # noqa: BLE001  all else has arrived, and `dlx runs sync` tries again
        return [f"{run.key} has no pictures: {type(error).__name__}: {error}"]
    return problems


def draw(each: Sequence[Delivery[Any]]) -> None:
    """Draw the pictures of folders that have been delivered, and deliver these; what is wrong goes to the log."""
    wanted = not draws_nothing()
    for one in each:
        if not wanted and not one.is_behind():
            continue
        for problem in pictures_of(one.folder):
            one.tell(problem)
        if not (result := one.sync()).complete:
            one.tell(result.error)
