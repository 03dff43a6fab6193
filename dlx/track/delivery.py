"""Delivery of a folder to MLflow, of a run or of a study: read in `mlflow.json` what has arrived, send the rest.

A `Delivery` may be killed at any moment and begun again by another process: what MLflow has accepted is recorded step
by step, and before anything that may have arrived is sent again, MLflow is asked whether it has.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from pydantic import TypeAdapter

from ..data import input_record
from ..errors import DlxError
from ..runs.folder import ARTIFACTS, RunFolder, alive
from ..runs.records import RunRecord
from ..utils import passwords
from . import at_work, content, model, store, system_metrics
from .datasets import datasets
from .store_errors import error_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE_FILE, LOG = "mlflow.json", "mlflow.log"
BATCH, FACTS = 1000, 100
"""Metrics in one call at most; and parameters, and tags: MLflow's documented limits of `log_batch`."""
PAUSE, LOOK = 1.0, 0.1
"""Seconds between two deliveries at least, and between two looks at the folder."""
TRIES = 2
"""Deliveries that may fail after the end; what is missing then waits for `dlx runs sync`."""
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "died": "KILLED"}
"""Status of a run or trial in MLflow's words. MLflow has none for a process that was killed."""


@dataclass(frozen=True)
class SyncResult:
    """Outcome of a `sync`: `complete` if MLflow has all that the folder holds."""

    sent: int
    complete: bool
    run_id: str
    uri: str
    error: str = ""
    waited: bool = False
    """Whether the mirror of the training has delivered, and was waited for."""

    def with_error(self, error: str) -> SyncResult:
        """Return it with what else went wrong, if something did and it has no error of its own."""
        return replace(self, complete=False, error=error) if error and self.complete else self

    def with_waiting(self, waited: bool) -> SyncResult:
        """Return it with whether a mirror was waited for."""
        return replace(self, waited=waited)

    def __str__(self) -> str:
        if self.error:
            return self.error
        if self.sent:
            return f"delivered {self.sent:,} records to {self.uri}"
        return f"already in {self.uri}" if self.run_id else f"not sent to {self.uri}"

    def as_json(self) -> dict[str, Any]:
        shown = {"sent": self.sent, "complete": self.complete, "mlflow_run": self.run_id, "uri": self.uri}
        return {**shown, "error": self.error or None, "waited": self.waited}


@dataclass
class MlflowRunState:
    """State of one MLflow run as far as dlx knows it; its fields are keys of `mlflow.json`."""

    run_id: str = ""
    sure: bool = False
    """False while metrics are being sent: a process that reads it asks MLflow which of them arrived before it sends
    more."""
    not_finite: dict[str, str] = field(default_factory=dict)
    """By metric, values that were infinite or NaN, with their first steps."""


@dataclass
class SyncState(MlflowRunState):
    """Record of what one store has of a folder: its fields are the keys of `mlflow.json`, of older dlx too."""

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file as it was sent."""
    model: dict[str, str] = field(default_factory=dict)
    """Digest of the checkpoint that was logged, and the ids of its models."""
    system: int = 0
    """Bytes of the samples of the machine's load that have arrived."""
    error: str = ""
    delivered_by: int = 0
    """Number of the mirror's process, or of the request to one, that has delivered all there was at the end; it may
    draw pictures after that."""
    began: int = 0
    """When the delivery that wrote it last began, in nanoseconds of the clock that files of the folder have: what is
    written from then on may not have been seen by it."""

    @classmethod
    def of(cls, folder: RunFolder, uri: str, experiment: str, file: str = STATE_FILE) -> Self:
        """Read the state of a folder for this store; a fresh one if none is there, or it is damaged or another
        store's.
        """
        fresh = cls(uri=uri, experiment=experiment)
        try:
            known = folder.read_json(file)
            if (known.get("uri"), known.get("experiment")) != (uri, experiment):
                return fresh
            own = {f.name: known[f.name] for f in fields(cls) if f.name in known}
            read: Self = TypeAdapter(cls).validate_python(own)
        except (DlxError, ValueError):
            return fresh
        return read if read.fits(folder) else fresh

    def fits(self, folder: RunFolder) -> bool:
        """Whether the state can be that of this folder."""
        return True


M = TypeVar("M", bound=SyncState)


class Delivery(ABC, Generic[M]):
    """Deliver a folder to MLflow, again and again. A subclass says what of it is sent, and under which names."""

    state_type: ClassVar[type[SyncState]]
    state_file: ClassVar[str] = STATE_FILE
    lock_file: ClassVar[str] = "mlflow.lock"
    artifacts: ClassVar[str] = ARTIFACTS
    """Folder of what is made to be looked at."""
    rest_factor: ClassVar[float] = 0.0
    """Pause after a delivery while training goes on, in multiples of the time that the delivery took."""
    state: M

    def __init__(self, folder: Path, uri: str | None = None, experiment: str | None = None) -> None:
        self.folder = RunFolder(folder)
        self.uri = store.tracking_uri(self.folder, uri)
        self.experiment = experiment or store.experiment_name(self.folder)
        self.sent = 0
        self.origin: Literal["known", "found", "made"] = "known"
        """Whether the MLflow run was known from `mlflow.json`, found by its tags, or created."""
        self.started = 0
        """Start of the MLflow run, in milliseconds of Unix time."""
        self.following = False
        self.number = os.getpid()
        """What `mlflow.json` has as `delivered_by`."""
        self.last_revision: object = None
        self.due, self.failures, self.last_error = 0.0, 0, ""
        self.code: int | None = None
        """Exit status: 0 if all has arrived, 1 if the end could not be delivered; None while more may come."""

    # --- for a subclass ---------------------------------------------------------------------------------------------

    @abstractmethod
    def deliver(self, final: bool) -> None:
        """Send what has not arrived; `final` if nothing more comes. Errors of MLflow are not caught here."""

    @abstractmethod
    def start_time(self) -> float:
        """Return the start of its MLflow run, in seconds of Unix time."""

    @abstractmethod
    def revision(self) -> object:
        """Return a value that changes whenever there is more to deliver; None before there is anything."""

    def has_ended(self) -> bool:
        """Whether the folder says that its run has ended."""
        return False

    def tags(self) -> dict[str, str]:
        """Return the tags of its MLflow run beside those of every run."""
        return {}

    def run_name(self) -> str:
        """Return the name of its MLflow run."""
        return self.folder.id

    @property
    def key(self) -> str:
        """The name by which its MLflow run is found again."""
        return self.folder.key

    # --- a delivery -------------------------------------------------------------------------------------------------

    @property
    def client(self) -> MlflowClient:
        return store.connect(self.uri)

    def sync(self, final: bool = True) -> SyncResult:
        """Deliver what the folder holds and MLflow does not. Never raises; repeated calls send nothing twice."""
        shown, self.sent = passwords.masked(self.uri), 0
        state = self.state_type(uri=shown, experiment=self.experiment)
        try:
            # the mirror of a run and `dlx runs sync` may meet; the second reads the state after the first has sent
            with at_work.held(self.folder.dir / self.lock_file), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's are not for the user of dlx
                began = self._time_of_files()
                try:
                    state = self.state_type.of(self.folder, shown, self.experiment, self.state_file)
                    self.state = state  # type: ignore[assignment]  # `memory` is the class of M
                    self._find_or_create()
                    state.error = ""
                    self.deliver(final)
                    self.log_system_metrics()
                    self.log_artifacts()
                    state.delivered_by = self.number if final and self.following else 0
                    state.began = began
                except Exception as error:  # noqa: BLE001  MLflow, its stores and torch.export raise all sorts
                    state.error = passwords.masked(error_text(error, shown))
                self.folder.write_json(self.state_file, asdict(state))
        except at_work.BusyError as busy:
            state.error = busy.problems[0].message
        except (DlxError, OSError) as error:
            state.error = f"{self.folder.dir} cannot be written: {error}"
        return SyncResult(self.sent, not state.error, state.run_id, shown, state.error)

    def _time_of_files(self) -> int:
        """Return the time by the clock that files of the folder have, which may be that of another machine."""
        lock = self.folder.dir / self.lock_file
        os.utime(lock)
        return lock.stat().st_mtime_ns

    def identify(self) -> str:
        """Return the id of its MLflow run, made where there is none. Errors of MLflow are not caught here."""
        shown = passwords.masked(self.uri)
        with at_work.held(self.folder.dir / self.lock_file):
            self.state = self.state_type.of(self.folder, shown, self.experiment, self.state_file)  # type: ignore[assignment]
            self._find_or_create()
            return self.state.run_id

    def save(self) -> None:
        """Write to `mlflow.json` what MLflow has accepted so far."""
        self.folder.write_json(self.state_file, asdict(self.state))

    def _find_or_create(self) -> None:
        """Find its MLflow run: the known one, else the one with its tags, else a new one.

        Raises DlxError where it was deleted in MLflow.
        """
        state, key = self.state, self.key
        self.origin = "known"
        if state.run_id and self._run_exists():
            return
        experiment_id = store.experiment_id(self.client, self.uri, state.experiment)
        fresh = self.state_type(uri=state.uri, experiment=state.experiment, experiment_id=experiment_id)
        # a run folder may have an apostrophe in its name
        quote = '"' if "'" in key else "'"
        tags = {"dlx.run": key} | self.tags()
        search = " and ".join(f"tags.`{name}` = {quote}{text}{quote}" for name, text in tags.items())
        found = self.client.search_runs([experiment_id], search, max_results=1)
        self.origin = "found" if found else "made"
        if found:
            info = found[0].info
        else:
            tags = content.run_tags(key) | tags
            started = content.milliseconds(self.start_time())
            info = self.client.create_run(experiment_id, started, tags, self.run_name()).info
        # a found run was created by a process whose mlflow.json is lost: what it has of the metrics is unknown
        fresh.run_id, fresh.sure, self.started = info.run_id, not found, info.start_time
        vars(state).update(vars(fresh))
        self.save()

    def _run_exists(self) -> bool:
        """Whether MLflow has the known run, and it is of this folder. Raises DlxError where it was deleted there."""
        from mlflow.exceptions import MlflowException

        state, folder = self.state, self.folder
        try:
            found = self.client.get_run(state.run_id)
            if found.data.tags.get("dlx.run", self.key) != self.key:
                return False
            state.experiment_id, self.started = found.info.experiment_id, found.info.start_time
            if found.info.lifecycle_stage != "deleted":
                return True
            gone = self.client.get_experiment(state.experiment_id).lifecycle_stage == "deleted"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        what = f"experiment `{state.experiment}` was deleted in MLflow, and with it the" if gone else "the"
        back = (
            f"experiments restore --experiment-id {state.experiment_id}"
            if gone
            else f"runs restore --run-id {state.run_id}"
        )
        raise DlxError(
            f"{what} MLflow run {state.run_id} of {self.key}{' was deleted there' if not gone else ''}; "
            f"`rm {shlex.quote(str(folder.dir / self.state_file))}` and `dlx runs sync {folder.argument}` send it "
            f"anew, `MLFLOW_TRACKING_URI={shlex.quote(passwords.masked(self.uri))} mlflow {back}` brings it back"
        )

    # --- what is sent -----------------------------------------------------------------------------------------------

    def log_metrics(self, to: MlflowRunState, points: Sequence[content.Point]) -> None:
        """Send metrics exactly once. Unless the state is sure, MLflow is asked first which of them it has."""
        from mlflow.entities import Metric

        unsent = list(points) if to.sure else self._undelivered(to.run_id, points)
        # recorded before the first call: a kill between a call and its record leaves `sure` False, and the next
        # process asks
        if unsent:
            to.sure = False
            self.save()
        for start in range(0, len(unsent), BATCH):
            some = content.storable_points(unsent[start : start + BATCH])
            self.client.log_batch(to.run_id, [Metric(*point) for point in some])
        not_finite = content.not_finite(points, to.not_finite)
        if not_finite != to.not_finite:
            self.log_labels(to.run_id, content.not_finite_tag(not_finite))
            to.not_finite = not_finite
        to.sure = True

    def _undelivered(self, run_id: str, points: Sequence[content.Point]) -> list[content.Point]:
        """Return the points that MLflow does not have."""
        keys = {name for name, *_ in points}
        there = {(m.key, m.timestamp, m.step) for key in keys for m in self.client.get_metric_history(run_id, key)}
        return [point for point in points if (point[0], *point[2:]) not in there]

    def log_labels(
        self,
        run_id: str,
        tags: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        totals: Mapping[str, float] | None = None,
        when: float = 0.0,
    ) -> None:
        """Send tags, parameters, and metrics at step 0 with the time `when`. What MLflow has of the last two
        stays.
        """
        from mlflow.entities import Metric, Param, RunTag

        # MLflow refuses another value of a parameter, and adds every further point to a metric
        known = self.client.get_run(run_id).data if params or totals else None
        labels = [RunTag(key, content.cut(value, content.TAG)) for key, value in tags.items()]
        words = [Param(k, v) for k, v in (params or {}).items() if known and k not in known.params]
        sums = [
            Metric(key, value, content.milliseconds(when), 0)
            for key, value in (totals or {}).items()
            if known and key not in known.metrics
        ]
        for start in range(0, max(len(words), len(labels), len(sums)), FACTS):
            part = slice(start, start + FACTS)
            self.client.log_batch(run_id, sums[part], words[part], labels[part])

    def log_file(self, path: Path, folder: str = "", send: Callable[[], None] | None = None, name: str = "") -> None:
        """Send a file, and call `send` for what else is made of it, unless its content was sent before.

        `name` is its name in the state; that of the file where it is empty.
        """
        # recorded after the calls, the other way round than metrics: a file sent twice replaces itself
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.state.files.get(name or path.name) == digest:
            return
        self.client.log_artifact(self.state.run_id, str(path), folder or None)
        if send is not None:
            send()
        self.state.files[name or path.name] = digest
        self.save()

    def log_artifacts(self) -> None:
        """Send what is made to be looked at, each file that is new."""
        for made in sorted((self.folder.dir / self.artifacts).rglob("*")):
            if made.is_file() and not made.name.startswith("."):  # those are being written
                inside = made.relative_to(self.folder.dir)
                folder = str(inside.parent.relative_to(self.artifacts))
                self.log_file(self.folder.file(str(inside)), folder, name=str(inside))

    def log_system_metrics(self) -> None:
        """Send the samples of the machine's load, each once."""
        for points, offset in system_metrics.points_from(self.folder, self.state.system):
            self.log_metrics(self.state, points)
            self.state.system = offset
            self.save()

    def log_datasets(self) -> None:
        """Send the parts of the data, with their schema."""
        try:
            record = input_record.load(self.folder.dir)
        except DlxError:  # a damaged record is told by what answers with the network
            record = None
        if inputs := datasets(self.folder.lock(), record):
            self.client.log_inputs(self.state.run_id, inputs)

    def is_behind(self) -> bool:
        """Whether a sample of the machine's load was measured when all else had been delivered."""
        return system_metrics.size(self.folder) > self.state.system

    def set_status(self, run_id: str, status: str, when: float) -> None:
        """Set MLflow's status of a run, and `when` it ended, in seconds of Unix time."""
        if status == "RUNNING":
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status, content.milliseconds(when))

    def log_model(self, run: RunFolder, end: RunRecord | None, run_id: str) -> None:
        """Log the final weights of a run, if it has any, as the logged model of an MLflow run."""
        state = self.state
        state.model = model.deliver(self.client, run, end, state.experiment_id, run_id, state.model)
        self.save()

    # --- beside a training ------------------------------------------------------------------------------------------

    def poll(self, gone: bool) -> float:
        """Deliver what is new, and return the seconds until the next call; `gone` if training has ended."""
        self.following = True
        final, found, began = gone or self.has_ended(), self.revision(), time.monotonic()
        now = (found, system_metrics.size(self.folder))
        if found is None:
            self.code = 0 if final else None
        elif final or (now != self.last_revision and began >= self.due):
            result = self.sync(final)
            self._report(result)
            if final and (result.complete or self.failures >= TRIES):
                self.code = 0 if result.complete else 1
            self.last_revision = now if result.complete else self.last_revision
            ended = time.monotonic()
            # doubled after each failure up to 30 s, so that a server that is down is left in peace
            self.due = ended + max(self.rest_factor * (ended - began), min(PAUSE * 2**self.failures, 30))
            # imported in the pauses of the training, so that logging the model at the end need not wait for it
            if result.complete and not final:
                model.load_guests()
        return PAUSE if final else LOOK

    def _report(self, result: SyncResult) -> None:
        """Write to the log what went wrong, where it is something else than before, and count failures in a row."""
        self.failures = 0 if result.complete else self.failures + 1
        if result.error != self.last_error:
            self.tell(result.error)
        self.last_error = result.error

    def tell(self, problem: str) -> None:
        """Write a line to the log in the folder, if there is one to write."""
        if problem:
            with suppress(OSError), (self.folder.dir / LOG).open("a") as log:
                log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {problem}\n")

    def watch(self, pid: int) -> Callable[[], bool]:
        """Return a predicate: whether process `pid`, which trains, has ended."""
        return lambda: not alive(pid)


class Follower(Protocol):
    """One that follows a folder until its run has ended: a delivery to MLflow, or the writer of files."""

    code: int | None

    def poll(self, gone: bool) -> float: ...


def follow(each: Sequence[Follower], gone: Callable[[], bool]) -> int:
    """Deliver from each folder until all have ended or the training process is gone; return 0 if all has arrived."""
    while True:
        pause = min(one.poll(gone()) for one in each if one.code is None)
        if all(one.code is not None for one in each):
            return max(one.code or 0 for one in each)
        time.sleep(pause)
