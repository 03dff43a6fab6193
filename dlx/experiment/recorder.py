"""One training on its way: records to its folder, checkpoints now and then, an end in any case."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, Problem, RunError
from ..graph import Graphs
from ..runs.folder import Run
from ..runs.records import with_current_names
from ..training import baseline, early_stopping, ensemble_metrics, fallback
from ..training.checkpoints import best_checkpoints, checkpoint, training_state
from ..training.checkpoints.background_writer import BackgroundWriter
from ..training.checkpoints.checkpoint import NotWrittenError

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.fit import Job, Record

SAVE_EVERY = 5.0
"""Seconds between two checkpoints on the way; the first comes with the first point of the loss curve."""

AT_MOST = 0.2
"""Seconds that points of the curve wait for others before they are written."""


@dataclass(frozen=True)
class TrainingStarted:
    """What a listener is told when training starts, or goes on from `step`."""

    run: Run
    graphs: Graphs
    device: str
    threads: int
    steps: int
    seed: int
    step: int = 0
    notes: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    """What differs from float32 on contiguous memory: `bf16`, `channels-last`."""


@dataclass(frozen=True)
class TrainingWarning:
    """What a listener is told of something that went wrong and does not end the training."""

    message: str


Callback = Callable[["TrainingStarted | Record | TrainingWarning"], None]


class RunRecorder:
    """One training on its way: records to folder and listener, checkpoints now and then, an end in any case."""

    def __init__(self, folder: Run) -> None:
        self.folder = folder
        self.job: Job | None = None
        self.metrics: dict[str, float] = {}
        self.status, self.message = "failed", ""
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.beside = 1
        """Trainings that share the time with this one, itself among them."""
        self.saved_at, self.saved_step = -SAVE_EVERY, 0
        self.writer, self.writing = BackgroundWriter(), 0
        self.room: dict[str, Tensor] = {}
        self.callback: Callback = lambda _: None
        self.unwritten: list[dict[str, Any]] = []
        """Points of the curve that no rest has come after."""
        self.outcome: dict[str, Any] = {}
        """How it ended, beside its metrics: whether it stopped early, the best evaluation, the average."""
        self.notes: tuple[str, ...] = ()
        """The same in words."""
        self.told = {(record["record"], record.get("step", 0)) for record in folder.records()}
        """Records that stand already: a run that goes on comes by them again, with the same figures."""

    @property
    def step(self) -> int:
        return self.job.progress.step if self.job is not None else 0

    def open(self) -> None:
        """Put down that the training begins, or goes on, and of which spec it is."""
        self.folder.append({"record": "start", "time": time.time(), "spec_hash": self.spec_hash})

    def take_up(self, job: Job) -> tuple[str, ...]:
        """Bring a fresh job to where the run was; what is worth a sentence."""
        training_state.remove_partial_files(self.checkpoints)
        facts, passed_over = training_state.restore(job, self.checkpoints, self.spec_hash)
        if job.train.keep_best is not None:
            best_checkpoints.repair(self.checkpoints, job.progress.step, early_stopping.best_mode(job))
        if facts is not None:
            self.metrics, self.saved_step = with_current_names(facts["metrics"]), job.progress.step
        return tuple(passed_over)

    def follow(self, job: Job, callback: Callback) -> None:
        """Run `fit` to its end."""
        from ..training.fit import fit

        self.start(job, callback)
        for record in fit(job):
            self.take(record)

    def start(self, job: Job, callback: Callback) -> None:
        """What `take` speaks of."""
        self.job, self.started, self.callback = job, time.perf_counter(), callback

    def take(self, record: Record) -> None:
        """One record of the job to where it belongs."""
        job = self.job
        assert job is not None
        if record.record not in {"step", "evaluation"}:
            self.write_down()
        if record.record == "end":
            self.metrics = record.metrics | ensemble_metrics.of_snapshots(job, self.checkpoints)
            self.written()
            self.save("final")
            self.came_to(job, (*early_stopping.notes(job), *baseline.notes(job, self.metrics)))
            self.status = "finished"
        elif record.record == "halt":
            self.halt(job)
        elif record.record == "cycle":
            self.save(ensemble_metrics.SNAPSHOT.format(job.cycles.index(job.progress.step) + 1))
        elif record.record == "safe_point":
            self.rest(job)
        else:
            self.measured(job, record)
        if record.record not in {"halt", "cycle", "safe_point"}:
            self.callback(record)

    def measured(self, job: Job, record: Record) -> None:
        """A point of the curve or an evaluation, which may be among the best."""
        if (record.record, record.step) not in self.told:
            self.unwritten.append(_as_json(record))
        measured = {k: v for k, v in record.metrics.items() if k != "lr" and not k.startswith("lr/")}
        self.metrics = {**self.metrics, **measured}
        waits = bool(self.unwritten) and time.time() - self.unwritten[0]["time"] > AT_MOST
        if record.record == "evaluation" or waits:
            self.write_down()
        if record.record == "evaluation" and job.train.keep_best is not None:
            self.keep(job)

    def write_down(self) -> None:
        """The points of the curve since the last time, in one go: they come many at once where steps are quick."""
        if self.unwritten:
            records, self.unwritten = self.unwritten, []
            self.folder.append(*records)

    @property
    def checkpoints(self) -> Path:
        return self.folder.dir / "checkpoints"

    def rest(self, job: Job) -> None:
        """Save all that the job moves, as often as the spec says or else every few seconds.

        It is copied here and written beside the training. Where the one before is still being written, this one is
        left for a later rest, or waited for where the spec says when to save.
        """
        if self.writer.busy and not job.train.save_every:
            return
        self.written()
        if job.train.save_every or time.monotonic() - self.saved_at > SAVE_EVERY:
            snapshot = training_state.snapshot(job, self.facts(job), self.room)
            self.saved_at, self.writing = time.monotonic(), job.progress.step
            self.writer.start(lambda: snapshot.write(self.checkpoints))

    def halt(self, job: Job) -> None:
        """Keep all that the job moves, to go on from; where the time is up, also the weights as they are judged."""
        self.written()
        training_state.snapshot(job, self.facts(job), self.room).write(self.checkpoints)
        if not job.progress.has_to_halt:
            with job.learner.evaluation_weights():
                self.save("stopped")
        self.status = "stopped"
        self.came_to(job, (early_stopping.halt_note(job),))

    def came_to(self, job: Job, notes: tuple[str, ...]) -> None:
        """How it ended, beside its metrics and its status."""
        learner = job.learner
        notes = (*notes, *learner.faults)
        told = any(fault.startswith(fallback.STEP) for fault in learner.faults)
        if job.train.trace is True and learner.way.get("step") == "plain" and not told:
            notes = (*notes, f"{fallback.STEP}: {learner.way['because']}")
        self.outcome, self.notes = early_stopping.outcome(job), notes
        if job.train.keep_best is not None:
            best = [
                best_checkpoints.as_json(rank, one)
                for rank, one in enumerate(best_checkpoints.ranked_facts(self.checkpoints), 1)
            ]
            self.outcome["kept"], self.notes = best, (*notes, best_checkpoints.summary(best))
        if self.outcome["stopped_early"] or self.status == "stopped":
            self.message = "; ".join(filter(None, (notes[0], self.message)))

    def keep(self, job: Job) -> None:
        """The weights of this evaluation, where it is among the best."""
        assert job.train.keep_best is not None
        metric = early_stopping.best_metric(job.train)
        facts = {**self.facts(job), "metric": metric, "value": self.metrics[metric]}
        try:
            best_checkpoints.save_if_best(
                self.checkpoints, job.network, facts, early_stopping.best_mode(job), job.train.keep_best.count
            )
        except NotWrittenError as error:
            self.trouble(error.problems[0].message)

    def trouble(self, message: str) -> None:
        """Tell, once, of something that does not end the training."""
        if not self.message:
            self.message = message
            self.callback(TrainingWarning(message))

    def written(self) -> None:
        """Wait for the checkpoint that is on its way. A full disk is told, once: the one before it is kept.

        RunError where a weight of it was not finite.
        """
        try:
            if self.writer.wait():
                self.saved_step = self.writing
        except NotWrittenError as error:
            before = f"that of step {self.saved_step:,} is kept" if self.saved_step else "there is none before it"
            self.trouble(f"{error.problems[0].message}; {before}")

    def facts(self, job: Job) -> dict[str, Any]:
        return {
            "step": job.progress.step,
            "epoch": job.feed.epoch,
            "metrics": self.metrics,
            "spec_hash": self.spec_hash,
        }

    @cached_property
    def spec_hash(self) -> str:
        """Which spec it is a training of: the SHA-256 of its text in the run's folder."""
        path = self.folder.dir / "spec.yaml"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""

    def save(self, name: str) -> None:
        """The weights alone."""
        assert self.job is not None
        checkpoint.save(self.checkpoints, name, self.job.network, self.facts(self.job))
        self.saved_step = self.job.progress.step

    @contextmanager
    def to_its_end(self) -> Iterator[None]:
        """Whatever happens inside, the folder gets its end record. Ctrl-C is an end like another."""
        try:
            yield
        except KeyboardInterrupt:
            self.status = "stopped"
            if self.job is not None:
                with suppress(DlxError):
                    self.written()
                    self.save("stopped")
        except DlxError as error:
            with suppress(DlxError):
                self.written()
            self.message = error.problems[0].message
            raise type(error)(*self.with_last_checkpoint(error)) from error
        except BaseException as error:
            self.message = f"{type(error).__name__}: {error}"
            raise
        finally:
            with suppress(DlxError):
                self.written()
            self.end()

    def end(self) -> None:
        self.seconds = (time.perf_counter() - self.started) / self.beside if self.job is not None else 0.0
        self.write_down()
        record = {"record": "end", "time": time.time(), "step": self.step, "seconds": round(self.seconds, 3)}
        record |= {"status": self.status, "message": self.message, "metrics": self.metrics}
        self.folder.append(record | {key: value for key, value in self.outcome.items() if value})
        learner = self.job.learner if self.job is not None else None
        if learner is not None and learner.way:
            faults = {"faults": learner.faults} if learner.faults else {}
            self.folder.write_json("lock.json", self.folder.lock() | {"way": learner.way | faults})

    def with_last_checkpoint(self, error: DlxError) -> list[Problem]:
        """The error, and where the last good weights are."""
        first, *rest = error.problems
        if not isinstance(error, RunError):
            return [first, *rest]
        kept = (
            f"The weights of step {self.saved_step:,} are kept in {self.checkpoints}."
            if self.saved_step
            else "It failed before the first checkpoint."
        )
        return [Problem(first.message, f"{first.hint} {kept}".strip(), first.mark, first.path), *rest]


def _as_json(record: Record) -> dict[str, Any]:
    return {
        "record": record.record,
        "time": time.time(),
        "step": record.step,
        "epoch": record.epoch,
        "metrics": record.metrics,
    }
