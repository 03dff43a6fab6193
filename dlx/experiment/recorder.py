"""Recorder of one run: writes records and checkpoints to its folder, passes events on, ends it in any case."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, NotWrittenError, Problem, RunError
from ..graph import Graphs
from ..metrics import Mode
from ..runs.folder import ARTIFACTS, RunFolder
from ..runs.records import with_current_names
from ..training import baseline, divergence, early_stopping, ensemble_metrics, fallback
from ..training.checkpoints import best_checkpoints, checkpoint, training_state
from ..training.checkpoints.background_writer import BackgroundWriter
from ..training.fit import Record
from ..training.pace import TimeForecast
from .run_time import RunTime

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.fit import Job
    from ..training.generation.at_stages import AtStages

SAVE_EVERY = 5.0
"""Seconds between two training states where the spec does not say; the first comes at the first safe point."""

AT_MOST = 0.2
"""Seconds that points of the curve wait for others before they are written."""


@dataclass(frozen=True)
class TrainingStarted:
    """Event: a training starts, or is resumed from `step`."""

    run: RunFolder
    graphs: Graphs
    device: str
    threads: int
    steps: int
    seed: int
    step: int = 0
    notes: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    """Choices other than float32 on contiguous memory, such as `bf16` and `channels-last`."""
    stage: str = ""
    """The stage of the run that starts, where it has several."""
    modes: Mapping[str, Mode] = field(default_factory=dict)
    """The metrics of the objective, and whether smaller ("min") or larger ("max") values are better."""
    steps_taken: Callable[[], int] = lambda: 0
    """Returns the updates up to now, which go on while nothing is recorded; no device is waited for."""
    examples_per_step: Callable[[int], float] = lambda _: 0
    """Returns the examples of an update in an epoch, counted from 1."""
    tokens: int = 0
    """Tokens of an example that is a text; else 0."""


@dataclass(frozen=True, slots=True)
class RecordOfRun(Record):
    """Event: a record of a training, with the run that it is of."""

    run: RunFolder


@dataclass(frozen=True)
class TrainingWarning:
    """Event: something has gone wrong that does not end the training."""

    message: str


OnForecast = Callable[["Job", TimeForecast], None]
"""Takes a training and the forecast of its time."""
Callback = Callable[["TrainingStarted | Record | TrainingWarning"], None]


@dataclass(frozen=True)
class StagePlace:
    """Place of a stage in its run."""

    name: str
    is_last: bool
    offset: int = 0
    """Steps of the stages before."""
    seconds: float = 0.0
    """Seconds of the stages before."""

    def checkpoints(self, run: Path) -> Path:
        """Return the folder of its checkpoints: those of the last stage are those of the run."""
        return run / "checkpoints" if self.is_last else run / "checkpoints" / self.name


class RunRecorder:
    """Recorder of one run or of one stage of it: records to its folder and a callback, checkpoints, and an end record
    in any case.
    """

    def __init__(self, folder: RunFolder, stage: StagePlace | None = None) -> None:
        self.folder, self.stage = folder, stage
        self.time = RunTime(folder, stage.name if stage is not None else "", folder.records())
        self.on_forecast: OnForecast = lambda *_: None
        self.offset = stage.offset if stage is not None else 0
        self.job: Job | None = None
        self.metrics: dict[str, float] = {}
        self.status, self.message = "failed", ""
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.sharing = 1
        """Trainings that are stepped together, this one included: each counts its share of the time."""
        self.saved_at, self.saved_step = -SAVE_EVERY, 0
        self.writer, self.writing_step = BackgroundWriter(), 0
        self.host_buffers: dict[str, Tensor] = {}
        self.callback: Callback = lambda _: None
        self.pending: list[dict[str, Any]] = []
        """Points of the curve that are not yet written to the folder."""
        self.outcome: dict[str, Any] = {}
        """End of the training apart from metrics: whether it stopped early, the best evaluation, the average."""
        self.notes: tuple[str, ...] = ()
        """The outcome in sentences."""
        self.samples: AtStages | None = None
        """Makes texts or sheets at stages of the training."""
        self.recorded = {(record["record"], record.get("step", 0)) for record in folder.records()}
        """Kind and step of the records in the folder: a resumed run repeats those since its checkpoint, with equal
        figures, and must not write them twice."""

    @property
    def step(self) -> int:
        """The step of the run, those of earlier stages included."""
        return self.offset + (self.job.progress.step if self.job is not None else 0)

    @property
    def goes_on(self) -> bool:
        """Whether another stage comes after this one."""
        return self.stage is not None and not self.stage.is_last

    def write_start(self) -> None:
        """Write the record of a start or a resumption, with the hash of the spec."""
        self.folder.append({"record": "start", "time": time.time(), "spec_hash": self.spec_hash})

    def resume(self, job: Job) -> tuple[str, ...]:
        """Restore a new job to the run's newest whole state; return notes on states that were passed over."""
        training_state.remove_partial_files(self.checkpoints)
        facts, passed_over = training_state.restore(job, self.checkpoints, self.spec_hash)
        if job.train.keep_best is not None:
            best_checkpoints.repair(self.checkpoints, job.progress.step, early_stopping.best_mode(job))
        if facts is not None:
            self.metrics, self.saved_step = with_current_names(facts["metrics"]), job.progress.step
        return tuple(passed_over)

    def train(self, job: Job, callback: Callback) -> None:
        """Run `fit` to its end and handle its records."""
        from ..training.fit import fit

        self.attach(job, callback)
        for record in fit(job):
            self.handle(record)

    def attach(self, job: Job, callback: Callback) -> None:
        """Set the job whose records `handle` gets, and the callback for them."""
        self.job, self.started, self.callback = job, time.perf_counter(), callback
        job.pace.start = job.progress.step

    def handle(self, record: Record) -> None:
        """Write or act on one record of the job, and pass it to the callback."""
        job = self.job
        assert job is not None
        # before a checkpoint of the step: a resumed run does not repeat the points before it
        if record.record not in {"step", "evaluation"}:
            self.flush()
        if record.record not in {"end", "halt"}:
            self.forecast(job)
        if record.record == "end":
            self.metrics = record.metrics | ensemble_metrics.of_snapshots(job, self.checkpoints)
            self.wait_for_writer()
            if self.goes_on:
                self.write_stage_end()
            self.write_samples(job)
            self.save("final")  # before the status: a run whose weights are not on disk has not finished
            notes = *early_stopping.notes(job), *baseline.notes(job, self.metrics)
            self.set_outcome(job, (*notes, *divergence.notes(job, self.metrics)))
            self.status = "finished"
        elif record.record == "halt":
            self.halt(job)
        elif record.record == "sample":
            self.write_samples(job)
        elif record.record == "cycle":
            self.save(ensemble_metrics.SNAPSHOT.format(job.cycles.index(job.progress.step) + 1))
        elif record.record == "safe_point":
            self.save_state(job)
        else:
            self.add_measurement(job, record)
        if record.record not in {"halt", "cycle", "safe_point", "sample"} and not (
            record.record == "end" and self.goes_on
        ):
            self.callback(RecordOfRun(record.record, record.step, record.epoch, record.metrics, self.folder))

    def forecast(self, job: Job) -> None:
        """Write how long the training will take, once its first steps have told."""
        forecast = job.pace.look(job, self.elapsed() - self._before)
        if forecast is not None:
            self.time.write_forecast(forecast)
            self.on_forecast(job, forecast)

    @property
    def _before(self) -> float:
        """Seconds of the stages before."""
        return self.stage.seconds if self.stage is not None else 0.0

    def write_samples(self, job: Job) -> None:
        """Write what the networks make at this step, where the spec asks for it.

        A run that is resumed from before writes the same again.
        """
        if self.samples is None:
            return
        for ending, content in self.samples.files(job).items():
            try:
                self.folder.write_bytes(f"{ARTIFACTS}/samples/step-{self.step:06d}{ending}", content)
            except RunError as error:
                self.warn(error.problems[0].message)

    def add_measurement(self, job: Job, record: Record) -> None:
        """Add a point of the curve or an evaluation, whose weights may be among the best."""
        if (record.record, self.offset + record.step) not in self.recorded:
            self.pending.append(self.as_json(record))
        measured = {k: v for k, v in record.metrics.items() if k != "lr" and not k.startswith("lr/")}
        self.metrics = {**self.metrics, **measured}
        waits = bool(self.pending) and time.time() - self.pending[0]["time"] > AT_MOST
        if record.record == "evaluation" or waits:
            self.flush()
        if record.record == "evaluation" and job.train.keep_best is not None:
            self.save_if_best(job)

    def as_json(self, record: Record) -> dict[str, Any]:
        """Return a record as it is written: its step is that of the run, and it has the name of its stage."""
        return {
            "record": record.record,
            "time": time.time(),
            "step": self.offset + record.step,
            "epoch": record.epoch,
            **({"stage": self.stage.name} if self.stage is not None else {}),
            "metrics": record.metrics,
        }

    def flush(self) -> None:
        """Write the pending points of the curve in one call; where steps are fast, many come at once."""
        if self.pending:
            records, self.pending = self.pending, []
            self.folder.append(*records)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, of this stage where the run has several."""
        return self.stage.checkpoints(self.folder.dir) if self.stage is not None else self.folder.dir / "checkpoints"

    def save_state(self, job: Job) -> None:
        """Save the training state as often as the spec says, else every `SAVE_EVERY` seconds.

        It is copied here, and written in the background. While the one before is being written, this one is skipped,
        unless the spec says when to save: then it waits.
        """
        if self.writer.busy and not job.train.save_every:
            return
        self.wait_for_writer()
        if job.train.save_every or time.monotonic() - self.saved_at > SAVE_EVERY:
            with job.pace.spending("checkpoints"):
                snapshot = training_state.snapshot(job, self.facts(job), self.host_buffers)
            self.saved_at, self.writing_step = time.monotonic(), job.progress.step
            self.writer.start(lambda: snapshot.write(self.checkpoints))

    def halt(self, job: Job) -> None:
        """Save the training state to resume from; after Ctrl-C or at the time limit, also the evaluated weights."""
        self.wait_for_writer()
        training_state.snapshot(job, self.facts(job), self.host_buffers).write(self.checkpoints)
        if job.progress.interrupted or not job.progress.has_to_halt:
            with job.learner.evaluation_weights():
                self.save("stopped")
        self.status = "stopped"
        if not job.progress.interrupted:
            self.set_outcome(job, (early_stopping.halt_note(job),))

    def set_outcome(self, job: Job, notes: tuple[str, ...]) -> None:
        """Set how the training ended, apart from its metrics and status, as JSON and in sentences."""
        learner = job.learner
        notes = (*notes, *learner.faults)
        is_noted = any(fault.startswith(fallback.STEP) for fault in learner.faults)
        if job.train.trace is True and learner.way.get("step") in {"plain", "partly replayed"} and not is_noted:
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

    def save_if_best(self, job: Job) -> None:
        """Save the weights of this evaluation if it is among the best; a full disk is a warning."""
        assert job.train.keep_best is not None
        metric = early_stopping.best_metric(job.train)
        facts = {**self.facts(job), "metric": metric, "value": self.metrics[metric]}
        try:
            best_checkpoints.save_if_best(
                self.checkpoints, job.network, facts, early_stopping.best_mode(job), job.train.keep_best.count
            )
        except NotWrittenError as error:
            self.warn(error.problems[0].message)

    def warn(self, message: str) -> None:
        """Pass a warning on, the first one only: a full disk would repeat it at each checkpoint."""
        if not self.message:
            self.message = message
            self.callback(TrainingWarning(message))

    def wait_for_writer(self) -> None:
        """Wait for the checkpoint that is being written; a full disk is a warning, and the one before stays.

        RunError where a weight was not finite.
        """
        try:
            if self.writer.wait():
                self.saved_step = self.writing_step
        except NotWrittenError as error:
            before = f"that of step {self.saved_step:,} is kept" if self.saved_step else "there is none before it"
            self.warn(f"{error.problems[0].message}; {before}")

    def facts(self, job: Job) -> dict[str, Any]:
        return {
            "step": job.progress.step,
            "epoch": job.feed.epoch,
            "metrics": self.metrics,
            "spec_hash": self.spec_hash,
        }

    @cached_property
    def spec_hash(self) -> str:
        """SHA-256 of the spec's text in the run's folder."""
        path = self.folder.dir / "spec.yaml"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""

    def save(self, name: str) -> None:
        """Save a checkpoint of the weights alone."""
        assert self.job is not None
        checkpoint.save(self.checkpoints, name, self.job.network, self.facts(self.job))
        self.saved_step = self.job.progress.step

    @contextmanager
    def ensure_end_record(self) -> Iterator[None]:
        """Context after which the folder has its end record, whatever happens; Ctrl-C ends the run as stopped."""
        try:
            yield
        except KeyboardInterrupt:
            self.status = "stopped"
            if self.job is not None:
                with suppress(DlxError):
                    self.wait_for_writer()
                    self.save("stopped")
        except DlxError as error:
            # first the writer, whose warning must not replace the message of the error
            with suppress(DlxError):
                self.wait_for_writer()
            self.fail(error.problems[0].message)
            raise type(error)(*self.with_last_checkpoint(error)) from error
        except BaseException as error:
            self.fail(f"{type(error).__name__}: {error}")
            raise
        finally:
            with suppress(DlxError):
                self.wait_for_writer()
            has_failed = bool(self.message) and self.status == "failed"
            try:
                self.write_end()
            except NotWrittenError as error:
                if not has_failed:  # else the first error is told
                    raise NotWrittenError(*self.with_last_checkpoint(error)) from error

    def fail(self, message: str) -> None:
        """Note what ends the run: one whose last file cannot be written has not finished, and can go on."""
        self.status, self.message = "failed", message

    def stop_between_stages(self) -> bool:
        """Write the end record of a run that Ctrl-C stops after a stage that has finished; return whether it does."""
        if self.goes_on and self.status == "finished":
            self.status = "stopped"
            self.write_end()
            return True
        return False

    def elapsed(self) -> float:
        """Return the seconds of the training up to now, its share where several are stepped together."""
        spent = (time.perf_counter() - self.started) / self.sharing if self.job is not None else 0.0
        return spent + self._before

    def write_stage_end(self) -> None:
        """Write the record of the end of a stage that is not the last."""
        if ("stage", self.step) not in self.recorded:
            record = {"record": "stage", "time": time.time(), "step": self.step, "seconds": round(self.elapsed(), 3)}
            self.folder.append(record | {"stage": self.stage.name if self.stage else "", "metrics": self.metrics})

    def write_end(self) -> None:
        self.seconds = self.elapsed()
        if self.job is not None:
            self.time.write_fact(self.seconds - self._before, self.job.pace)
        self.flush()
        if self.goes_on and self.status == "finished":
            return
        try:
            self.write_way()
        except NotWrittenError as error:
            if self.status == "finished":
                self.fail(error.problems[0].message)
            self.append_end()
            raise
        self.append_end()

    def append_end(self) -> None:
        """Append the end record, the last thing that is written of a run."""
        record = {"record": "end", "time": time.time(), "step": self.step, "seconds": round(self.seconds, 3)}
        record |= {"status": self.status, "message": self.message, "metrics": self.metrics}
        self.folder.append(record | {key: value for key, value in self.outcome.items() if value})

    def write_way(self) -> None:
        """Write to the lock how steps were computed, which is known once there was one."""
        learner = self.job.learner if self.job is not None else None
        if learner is not None and learner.way:
            faults = {"faults": learner.faults} if learner.faults else {}
            self.folder.write_json("lock.json", self.folder.lock() | {"way": learner.way | faults})

    def with_last_checkpoint(self, error: DlxError) -> list[Problem]:
        """Return the problems of an error, with a hint at where the last good weights are."""
        first, *save_state = error.problems
        if not isinstance(error, RunError):
            return [first, *save_state]
        where = (
            f"The weights of step {self.saved_step:,} are kept in {self.checkpoints}."
            if self.saved_step
            else "It failed before the first checkpoint."
        )
        if isinstance(error, NotWrittenError):
            where += f" `dlx train --resume {self.folder.argument}` goes on."
        hint = f"{first.hint} {where}".strip()
        return [Problem(first.message, hint, first.mark, first.path), *save_state]
