"""Run a sweep: plan, study, workers and the search over them, until it has ended or is interrupted."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal

from ..errors import FULL, MAKE_ROOM, DlxError, NotWrittenError, RunError, not_written
from ..experiment.session import check_tracking
from ..runs import origin
from ..runs.folder import RunFolder
from ..spec import Train
from ..spec.overrides import values_of
from ..spec.sections.stopping import MAX_TIME, seconds
from ..track import FILES_TIMEOUT, Mirror, tracking_uri
from ..training import device, process
from ..utils import option_bounds
from .events import Callback, Noted, Opened, Reason, SweepResult
from .mlflow_study import start
from .plan import SweepPlan
from .search import Search, StopCondition, next_of
from .study import Study, locked
from .workers import gpus
from .workers.base import Trainer, Worker

Backend = Literal["local", "ray"]
TOGETHER = 16
"""Trainings that are packed at most with `--pack auto`."""


@dataclass(frozen=True)
class SweepOptions:
    """Resources and options of a sweep: none of them changes its results."""

    jobs: int | None = 1
    """Processes; None for as many as the GPUs have room for and are of use."""
    backend: Backend = "local"
    pack: int = 1
    """Trainings that may be one stacked network."""
    budget: int | None = None
    """Seconds."""
    retry_failed: bool = False
    mirror: bool = False
    """Whether to deliver the study to MLflow, by a process of its own, unless the spec declines it."""


def run(plan: SweepPlan, options: SweepOptions, callback: Callback = lambda _: None) -> SweepResult:
    """Search, or continue a search. Raises DlxError where the study is another's, in use or corrupt, or no point
    is feasible.

    It stops when its budget is spent, and at the first Ctrl-C, once running trainings have saved their state.
    """
    check_tracking(plan.base)
    clock = StopCondition(options.budget)
    process.tune()
    trainer = Trainer(options.pack)
    with (
        _going_on(plan.folder),
        locked(plan.folder),
        closing(Study.begin(plan.folder, plan.identity)) as study,
        closing(_worker(plan, options, trainer, callback)) as worker,
    ):
        changed = values_of(plan.base.overrides)  # those of `sweep` are the study itself
        own = {key: value for key, value in changed.items() if key.removeprefix("~").split(".")[0] != "sweep"}
        origin.record_overrides(RunFolder(plan.folder), own)
        mirror = _mirror(plan) if options.mirror else None
        try:
            with _interruptible(clock):
                callback(Opened(plan, study))
                search = Search(plan, study, worker, trainer, callback, clock)
                if options.retry_failed:
                    search.retry()
                ended = search.run()
        finally:
            if mirror is not None:
                mirror.close_input()
    reason: Reason = "finished"
    if not ended:
        reason = "interrupted" if clock.interrupted else "budget"
    next_step = "" if ended else next_of(plan, study)
    return SweepResult(study, reason, clock.seconds, next_step, search.note, mirror)


def finish(result: SweepResult) -> SweepResult:
    """Return the result with the state of its mirror: nobody waits for MLflow, and little for files."""
    if result.mirror is None:
        return result
    return replace(result, tracking=result.mirror.at_end(time.monotonic() + FILES_TIMEOUT))


def parse_pack(text: str) -> int:
    """Parse `--pack`: the number of trainings in a stack. Raises DlxError for another text."""
    if text == "auto":
        return TOGETHER
    if text == "off":
        return 1
    if count := option_bounds.whole(text):
        return count
    raise DlxError(f"--pack takes auto, off or how many, not {text}", hint="`--pack 8` trains up to 8 as one.")


def parse_jobs(text: str) -> int | None:
    """Parse `--jobs`: the number of processes; None for auto. Raises DlxError for another text."""
    if text == "auto":
        return None
    if count := option_bounds.whole(text):
        option_bounds.check("--jobs", count, option_bounds.PROCESSES)
        return count
    raise DlxError(f"--jobs takes auto or how many, not {text}", hint="`--jobs 4` trains in four processes.")


def parse_budget(text: str | None) -> int | None:
    """Parse `--budget`, in seconds. Raises DlxError where it is no time."""
    if text is None:
        return None
    if not re.fullmatch(MAX_TIME, text) or not seconds(text):
        raise DlxError(
            f"--budget takes a time, not {text}", hint="Write 90s, 30m, 2h or 1h30m, each of up to six digits."
        )
    return seconds(text)


def draw_figures(result: SweepResult) -> None:
    """Draw the figures of a study into its folder."""
    from . import figures

    figures.of_study(result.study)


def tracking_uri_of(plan: SweepPlan) -> str:
    """Return the address of the store that a study is delivered to; empty where it is declined."""
    if not plan.base.track.mlflow:
        return ""
    return tracking_uri(RunFolder(plan.folder), plan.base.track.uri)


def _mirror(plan: SweepPlan) -> Mirror | None:
    track = plan.base.track
    if not track.mirrors:
        return None
    name, machine = track.experiment or plan.base.name, track.system_metrics
    return start(plan.folder, track.uri, name, mlflow=track.mlflow, system_metrics=machine)


def _worker(plan: SweepPlan, options: SweepOptions, trainer: Trainer, callback: Callback) -> Worker:
    if options.backend == "ray":
        from .workers.on_ray import OnRay

        return OnRay(options.jobs or 1, options.pack)
    assert plan.base.train is not None
    available = gpus.available(plan.base.train.device) if options.jobs != 1 else []
    if options.pack > 1 and (
        options.jobs == 1 or available
    ):  # the device is asked for where torch is imported anyway
        _note_packing(plan.base.train, callback)
    if options.jobs == 1 or (options.jobs is None and not available):
        return trainer
    from .workers.process_pool import Processes

    log = plan.folder / "workers.log"
    return Processes(options.jobs, log, options.pack, available, trainer, lambda text: callback(Noted(text)))


def _note_packing(train: Train, callback: Callback) -> None:
    """Send a note where the device keeps trials from being packed."""
    with suppress(DlxError):  # a device that is not there is the error of each trial
        if text := device.packing_note(train):
            callback(Noted(text))


@contextmanager
def _going_on(folder: Path) -> Iterator[None]:
    """Say how a study goes on that a full disk ends: its trials are not at fault, and have not failed."""
    try:
        yield
    except RunError as error:
        if not error.problems[0].hint.startswith(MAKE_ROOM):
            raise
        # that of a worker has come as text
        raise NotWrittenError(*error.problems).going_on(GOES_ON) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise not_written(error.filename or folder, error).going_on(GOES_ON) from error


GOES_ON = "The same command goes on with the study."


@contextmanager
def _interruptible(clock: StopCondition) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM ask for a clean stop; the second acts as it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(_: int, __: FrameType | None) -> None:
        clock.interrupted = True
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        for number in before:
            signal.signal(number, ask)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = [
    "SweepOptions",
    "draw_figures",
    "finish",
    "parse_budget",
    "parse_jobs",
    "parse_pack",
    "run",
    "tracking_uri_of",
]
