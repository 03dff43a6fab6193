"""One delivery to MLflow, of a run or of a study: see in `mlflow.json` what has arrived, send the rest.

A `Delivery` may be killed at any moment and begun again by another process: what MLflow has accepted is noted step by
step, and what may or may not have arrived is asked for before it is sent again.
"""

from __future__ import annotations

import hashlib
import shlex
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

from filelock import FileLock
from pydantic import TypeAdapter

from ..errors import DlxError
from ..runs.folder import Run, alive
from ..runs.records import RunRecord
from ..utils import passwords
from . import content, model, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

MEMORY = "mlflow.json"
BATCH, FACTS = 1000, 100
"""Metrics in one call at most; and parameters, and tags."""
PAUSE, LOOK = 1.0, 0.1
"""Seconds between two deliveries at least, and between two looks at the folder."""
TRIES = 2
"""Deliveries that may fail after the end; what is missing then waits for `dlx runs sync`."""
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "died": "KILLED"}


@dataclass(frozen=True)
class SyncResult:
    """The outcome of a `sync`. `complete` where all that stands in the folder is now in MLflow."""

    sent: int
    complete: bool
    run_id: str
    uri: str
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return self.error
        return f"delivered {self.sent:,} records to {self.uri}" if self.sent else f"nothing new for {self.uri}"

    def as_json(self) -> dict[str, Any]:
        shown = {"sent": self.sent, "complete": self.complete, "mlflow_run": self.run_id, "uri": self.uri}
        return {**shown, "error": self.error or None}


@dataclass
class Arrived:
    """How far one MLflow run is."""

    run_id: str = ""
    sure: bool = False
    """False while metrics are on their way: before more are sent, MLflow is asked what it has."""
    not_finite: dict[str, str] = field(default_factory=dict)
    """By metric, where it was first infinite or no number."""


@dataclass
class SyncState(Arrived):
    """How far a folder is in one store; kept as `mlflow.json`."""

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """The digest of each file as it was sent."""
    model: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def of(cls, home: Run, uri: str, experiment: str) -> Self:
        """The memory of a folder in this store; a fresh one where there is none, or it cannot be read."""
        fresh = cls(uri=uri, experiment=experiment)
        try:
            known = home.read_json(MEMORY)
            if (known.get("uri"), known.get("experiment")) != (uri, experiment):
                return fresh
            own = {f.name: known[f.name] for f in fields(cls) if f.name in known}
            read: Self = TypeAdapter(cls).validate_python(own)
        except (DlxError, ValueError):
            return fresh
        return read if read.fits(home) else fresh

    def fits(self, home: Run) -> bool:
        """Whether it can be that of this folder."""
        return True


M = TypeVar("M", bound=SyncState)


class Delivery(ABC, Generic[M]):
    """A folder that is delivered, as often as it is asked to. A subclass says what of it, and under which names."""

    memory: ClassVar[type[SyncState]]
    rests: ClassVar[float] = 0.0
    """How many times as long as a delivery took it rests, where training goes on."""
    state: M

    def __init__(self, folder: Path, uri: str | None = None, experiment: str | None = None) -> None:
        self.home = Run(folder)
        self.uri = store.tracking_uri(self.home, uri)
        self.experiment = experiment or store.experiment_name(self.home)
        self.sent = 0
        self.origin: Literal["known", "found", "made"] = "known"
        """Where this delivery has its MLflow run from."""
        self.started = 0
        """When that began, in milliseconds of Unix time."""
        self.following = False
        self.seen: object = None
        self.due, self.failures = 0.0, 0
        self.code: int | None = None
        """0 where all has arrived, 1 where the end could not be delivered; None as long as more may come."""

    # --- for a subclass ---------------------------------------------------------------------------------------------

    @abstractmethod
    def deliver(self, over: bool) -> None:
        """Send what has not arrived. `over`: nothing more comes. Whatever MLflow raises comes through."""

    @abstractmethod
    def begun(self) -> float:
        """When its MLflow run starts, in seconds of Unix time."""

    @abstractmethod
    def glance(self) -> object:
        """Changes whenever there is more to deliver; None before there is anything."""

    def ended(self) -> bool:
        """Whether its end stands in the folder."""
        return False

    def tags(self) -> dict[str, str]:
        """Tags of its MLflow run from the first on, beside those of all."""
        return {}

    # --- a delivery -------------------------------------------------------------------------------------------------

    @property
    def client(self) -> MlflowClient:
        return store.connect(self.uri)

    def sync(self, over: bool = True) -> SyncResult:
        """Deliver what stands in the folder and is not in MLflow. Never raises; call it as often as you like."""
        shown, self.sent = passwords.masked(self.uri), 0
        state = self.memory(uri=shown, experiment=self.experiment)
        try:
            with FileLock(self.home.dir / "mlflow.lock"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's are not for the user of dlx
                try:
                    state = self.memory.of(self.home, shown, self.experiment)
                    self.state = state  # type: ignore[assignment]  # `memory` is the class of M
                    self._find_or_create()
                    state.error = ""
                    self.deliver(over)
                except Exception as error:  # noqa: BLE001  MLflow, its stores and torch.export raise all sorts
                    state.error = passwords.masked(sentence(error, shown))
                self.home.write_json(MEMORY, asdict(state))
        except (DlxError, OSError) as error:
            state.error = f"{self.home.dir} cannot be written: {error}"
        return SyncResult(self.sent, not state.error, state.run_id, shown, state.error)

    def save(self) -> None:
        """Note what MLflow has accepted so far."""
        self.home.write_json(MEMORY, asdict(self.state))

    def _find_or_create(self) -> None:
        """Its MLflow run: the one that is known, else the one with its tag, else a new one.

        DlxError where it was deleted there.
        """
        state, key = self.state, self.home.key
        self.origin = "known"
        if state.run_id and self._stands():
            return
        experiment_id = store.experiment_id(self.client, self.uri, state.experiment)
        fresh = self.memory(uri=state.uri, experiment=state.experiment, experiment_id=experiment_id)
        quote = '"' if "'" in key else "'"
        tags = {"dlx.run": key} | self.tags()
        search = " and ".join(f"tags.`{name}` = {quote}{text}{quote}" for name, text in tags.items())
        found = self.client.search_runs([experiment_id], search, max_results=1)
        self.origin = "found" if found else "made"
        if found:
            info = found[0].info
        else:
            tags = content.run_tags(key) | tags
            started = content.milliseconds(self.begun())
            info = self.client.create_run(experiment_id, started, tags, self.home.id).info
        fresh.run_id, fresh.sure, self.started = info.run_id, not found, info.start_time
        vars(state).update(vars(fresh))
        self.save()

    def _stands(self) -> bool:
        """Whether the MLflow run that is known is there, and of this folder. DlxError where it was deleted."""
        from mlflow.exceptions import MlflowException

        state, home = self.state, self.home
        try:
            found = self.client.get_run(state.run_id)
            if found.data.tags.get("dlx.run", home.key) != home.key:
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
            f"{what} MLflow run {state.run_id} of {home.key}{' was deleted there' if not gone else ''}; "
            f"`rm {shlex.quote(str(home.dir / MEMORY))}` and `dlx runs sync {home.argument}` send it anew, "
            f"`mlflow {back}` brings it back"
        )

    # --- what is sent -----------------------------------------------------------------------------------------------

    def tell(self, to: Arrived, points: Sequence[content.Point]) -> None:
        """Metrics, exactly once: while it is open what has arrived, MLflow is asked before they are sent again."""
        from mlflow.entities import Metric

        left = list(points) if to.sure else self._missing(to.run_id, points)
        if left:
            to.sure = False
            self.save()
        for start in range(0, len(left), BATCH):
            some = content.storable(left[start : start + BATCH])
            self.client.log_batch(to.run_id, [Metric(*point) for point in some])
        not_finite = content.not_finite(points, to.not_finite)
        if not_finite != to.not_finite:
            self.label(to.run_id, content.not_finite_tag(not_finite))
            to.not_finite = not_finite
        to.sure = True

    def _missing(self, run_id: str, points: Sequence[content.Point]) -> list[content.Point]:
        """Those that MLflow does not have."""
        keys = {name for name, *_ in points}
        there = {(m.key, m.timestamp, m.step) for key in keys for m in self.client.get_metric_history(run_id, key)}
        return [point for point in points if (point[0], *point[2:]) not in there]

    def label(
        self,
        run_id: str,
        tags: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        totals: Mapping[str, float] | None = None,
        when: float = 0.0,
    ) -> None:
        """Tags; parameters, and metrics at step 0, of which what MLflow has is left alone. A hundred a call."""
        from mlflow.entities import Metric, Param, RunTag

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

    def attach(self, path: Path, folder: str = "", send: Callable[[], None] | None = None) -> None:
        """A file, and what else is made of it, unless it has been sent as it is. Sending twice does no harm."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.state.files.get(path.name) == digest:
            return
        self.client.log_artifact(self.state.run_id, str(path), folder or None)
        if send is not None:
            send()
        self.state.files[path.name] = digest
        self.save()

    def stand(self, run_id: str, status: str, when: float) -> None:
        """How a run stands, in a word of MLflow, and since when where it has ended."""
        if status == "RUNNING":
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status, content.milliseconds(when))

    def give_model(self, run: Run, end: RunRecord | None, run_id: str) -> None:
        """The final weights of a run, where it has any, as the logged model of an MLflow run."""
        state = self.state
        state.model = model.deliver(self.client, run, end, state.experiment_id, run_id, state.model)
        self.save()

    # --- beside a training ------------------------------------------------------------------------------------------

    def look(self, gone: bool) -> float:
        """Deliver what has come; after how many seconds to look again. `gone`: nobody writes there any more."""
        self.following = True
        over, now, began = gone or self.ended(), self.glance(), time.monotonic()
        if now is None:
            self.code = 0 if over else None
        elif over or (now != self.seen and began >= self.due):
            result = self.sync(over)
            self._note(result)
            if over and (result.complete or self.failures >= TRIES):
                self.code = 0 if result.complete else 1
            self.seen = now if result.complete else self.seen
            ended = time.monotonic()
            self.due = ended + max(self.rests * (ended - began), min(PAUSE * 2**self.failures, 30))
            if result.complete and not over:
                model.load_guests()
        return PAUSE if over else LOOK

    def _note(self, result: SyncResult) -> None:
        """Say in the log what went wrong, and count how often it has by now."""
        self.failures = 0 if result.complete else self.failures + 1
        if not result.complete:
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {result.error}", flush=True)

    def watch(self, pid: int) -> Callable[[], bool]:
        """From now on: whether process `pid`, which trains, is gone."""
        return lambda: not alive(pid)


def follow(each: Sequence[Delivery[Any]], gone: Callable[[], bool]) -> int:
    """Deliver what comes until all have ended or the training is gone. 0 where all has arrived."""
    while True:
        pause = min(one.look(gone()) for one in each if one.code is None)
        if all(one.code is not None for one in each):
            return max(one.code or 0 for one in each)
        time.sleep(pause)


def sentence(error: Exception, uri: str) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, DlxError):
        return text
    unreachable = (
        "Max retries exceeded",
        "timed out",
        "Connection refused",
        "Connection aborted",
        "RemoteDisconnected",
    )
    if any(word in text for word in unreachable):
        return f"MLflow at {uri} cannot be reached; `dlx runs sync` delivers the rest once it can"
    return f"MLflow at {uri} did not take it: {content.cut(text or type(error).__name__, 500)}"
