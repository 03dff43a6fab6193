"""`dlx sweep`: a plan, its study, the workers, and the loop over them, until it has ended or is to stop."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import Literal

from ..errors import DlxError
from ..runs.folder import Run
from ..spec import Train
from ..spec.sections.stopping import MAX_TIME, seconds
from ..track import Mirror, tracking_uri
from ..training import device
from .events import Callback, Noted, Opened, Reason, SweepResult
from .mlflow_study import start
from .plan import SweepPlan
from .search import Clock, Search, next_of
from .study import Study, locked
from .workers import gpus
from .workers.base import Trainer, Worker

Backend = Literal["local", "ray"]
TOGETHER = 16
"""Trainings that are packed at most where nobody says how many."""
PATIENCE = 10.0
"""Seconds that the end of a sweep waits for its mirror."""


@dataclass(frozen=True)
class SweepOptions:
    """What a sweep may take: none of it changes what it comes to."""

    jobs: int | None = 1
    """Processes; None: as many as the GPUs have room for and are of use."""
    backend: Backend = "local"
    pack: int = 1
    """Trainings that may be one stacked network."""
    budget: int | None = None
    """Seconds."""
    retry_failed: bool = False
    mirror: bool = False
    """Deliver the study to MLflow, by a process of its own, where the spec does not decline it."""


def run(plan: SweepPlan, means: SweepOptions, callback: Callback = lambda _: None) -> SweepResult:
    """Search, or go on searching. DlxError where the study is another's, in use or corrupt, or nothing can be tried.

    It stops where its time is spent, and at the first Ctrl-C, when what is on its way has saved its state.
    """
    clock = Clock(means.budget)
    device.limit_thread_spinning()
    home = Trainer(means.pack)
    with (
        locked(plan.folder),
        closing(Study.begin(plan.folder, plan.identity)) as study,
        closing(_worker(plan, means, home, callback)) as worker,
    ):
        mirror = _mirror(plan) if means.mirror else None
        try:
            with _interruptible(clock):
                callback(Opened(plan, study))
                search = Search(plan, study, worker, home, callback, clock)
                if means.retry_failed:
                    search.retry()
                ended = search.run()
        finally:
            if mirror is not None:
                mirror.leave()
    reason: Reason = "finished"
    if not ended:
        reason = "interrupted" if clock.asked else "budget"
    told = "" if ended else next_of(plan, study)
    return SweepResult(study, reason, clock.seconds, told, search.note, mirror)


def finish(ending: SweepResult) -> SweepResult:
    """Wait for the mirror, which draws the figures too, and say what became of it."""
    if ending.mirror is None:
        return ending
    return replace(ending, tracking=ending.mirror.finish(PATIENCE))


def parse_pack(text: str) -> int:
    """How many trainings `--pack` lets be one. DlxError where it says nothing of that."""
    if text == "auto":
        return TOGETHER
    if text == "off":
        return 1
    if text.isdigit() and int(text):
        return int(text)
    raise DlxError(f"--pack takes auto, off or how many, not {text}", hint="`--pack 8` trains up to 8 as one.")


def parse_jobs(text: str) -> int | None:
    """How many processes `--jobs` asks for; None for auto. DlxError where it says nothing of that."""
    if text == "auto":
        return None
    if text.isdigit() and int(text):
        return int(text)
    raise DlxError(f"--jobs takes auto or how many, not {text}", hint="`--jobs 4` trains in four processes.")


def parse_budget(text: str | None) -> int | None:
    """The seconds of `--budget`. DlxError where it is no time."""
    if text is None:
        return None
    if not re.fullmatch(MAX_TIME, text) or not seconds(text):
        raise DlxError(f"--budget takes a time, not {text}", hint="Write 90s, 30m, 2h or 1h30m.")
    return seconds(text)


def draw_figures(ending: SweepResult) -> None:
    """The figures of a study, into its folder."""
    from . import figures

    figures.of_study(ending.study)


def tracking_uri_of(plan: SweepPlan) -> str:
    """Where MLflow keeps a study."""
    return tracking_uri(Run(plan.folder), plan.base.track.uri)


def _mirror(plan: SweepPlan) -> Mirror | None:
    track = plan.base.track
    return start(plan.folder, track.uri, track.experiment or plan.base.name) if track.mlflow else None


def _worker(plan: SweepPlan, means: SweepOptions, home: Trainer, callback: Callback) -> Worker:
    if means.backend == "ray":
        from .workers.on_ray import OnRay

        return OnRay(means.jobs or 1, means.pack)
    assert plan.base.train is not None
    there = gpus.there(plan.base.train.device) if means.jobs != 1 else []
    if means.pack > 1 and (means.jobs == 1 or there):  # the device is asked for where torch is imported anyway
        _note_packing(plan.base.train, callback)
    if means.jobs == 1 or (means.jobs is None and not there):
        return home
    from .workers.processes import Processes

    log = plan.folder / "workers.log"
    return Processes(means.jobs, log, means.pack, there, home, lambda text: callback(Noted(text)))


def _note_packing(train: Train, callback: Callback) -> None:
    """Say it where the device keeps trials from being packed."""
    with suppress(DlxError):  # a device that is not there is the error of each trial
        if text := device.packing_note(train):
            callback(Noted(text))


@contextmanager
def _interruptible(clock: Clock) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a clean stop; the second is as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(_: int, __: FrameType | None) -> None:
        clock.asked = True
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
