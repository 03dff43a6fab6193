"""The one mechanism: read the run folder, see in `mlflow.json` what was delivered, deliver the rest."""

from __future__ import annotations

import hashlib
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from types import NoneType
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from .. import secrets
from ..errors import DlxError
from ..runs import RECORDS, Record, Run, is_record
from . import content, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

MEMORY = "mlflow.json"
BATCH = 1000
"""Metrics in one call, at most."""

STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "died": "KILLED"}


@dataclass(frozen=True)
class Synced:
    """What a `sync` did. `complete` where all that stands in the run folder is now in MLflow."""

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
class State:
    """How far one run is in one store; kept as `mlflow.json` after every step that MLflow has accepted."""

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    run_id: str = ""
    offset: int = 0
    records: int = 0
    sure: bool = False
    """False while a batch is on its way: before the next is sent, MLflow is asked what it has."""
    last: dict[str, list[Any]] = field(default_factory=dict)
    """Each metric's last step and value."""
    end: Record | None = None
    status: str = ""
    files: dict[str, str] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    not_finite: dict[str, str] = field(default_factory=dict)
    """By metric, where it was first infinite or no number."""
    error: str = ""

    @classmethod
    def of(cls, run: Run, uri: str, experiment: str) -> State:
        """What is known of a run in this store; a fresh start where nothing is, or it cannot be read."""
        fresh = cls(uri, experiment)
        try:
            known = run.read_json(MEMORY)
        except DlxError:
            return fresh
        if (known.get("uri"), known.get("experiment")) != (uri, experiment):
            return fresh
        stored = {f.name: known[f.name] for f in fields(cls) if f.name in known}
        return cls(**stored) if _fits(stored, fresh) and _is_place(run, stored.get("offset", 0)) else fresh

    def save(self, run: Run) -> None:
        run.write_json(MEMORY, asdict(self))


def _fits(stored: Mapping[str, Any], fresh: State) -> bool:
    """Whether what `mlflow.json` says is of the kinds that were written there."""
    kinds = {f.name: type(getattr(fresh, f.name)) for f in fields(State)} | {"end": (dict, NoneType)}
    if not all(isinstance(value, kinds[name]) for name, value in stored.items()):
        return False
    texts = [value for name in ("files", "model", "not_finite") for value in stored.get(name, {}).values()]
    end = stored.get("end")
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(pair, list) for pair in stored.get("last", {}).values())
        and (end is None or (is_record(end) and end["record"] == "end"))
    )


def _is_place(run: Run, offset: int) -> bool:
    """Whether the records of a run have an end of a line there."""
    path = run.file(RECORDS) if offset else None
    if path is None:
        return True
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"


def sync(run: Run, uri: str | None = None, experiment: str | None = None) -> Synced:
    """Deliver what stands in the run folder and is not in MLflow. Never raises; call it as often as you like."""
    if uri is None and store.spec_track(run).get("mlflow") is False:
        return Synced(0, complete=True, run_id="", uri="MLflow, which its spec declines")
    place = store.tracking_uri(run, uri)
    shown = secrets.masked(place)
    state, known = State(shown), State()
    try:
        with FileLock(run.dir / "mlflow.lock"):
            try:
                state = State.of(run, shown, experiment or store.experiment_name(run))
                known = replace(state)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # MLflow's are not for the user of dlx
                    _deliver(run, state, place)
            except Exception as error:  # noqa: BLE001  MLflow, its stores and torch.export raise all sorts
                state.error = secrets.masked(sentence(error, shown))
            state.save(run)
    except (DlxError, OSError) as error:
        state.error = f"{run.dir} cannot be written: {error}"
    sent = state.records - (known.records if known.run_id == state.run_id else 0)
    return Synced(sent, not state.error, state.run_id, shown, state.error)


def _deliver(run: Run, state: State, uri: str) -> None:
    client = store.connect(uri)
    _find_or_create(client, run, state, uri)
    state.error = ""
    for name, send in PARTS.items():
        _part(client, run, state, name, send)
    for batch in _batches(run, state):
        _send(client, run, state, batch)
    _status(client, run, state)
    if state.end is not None:
        from . import model

        model.deliver(client, run, state)


def _find_or_create(client: MlflowClient, run: Run, state: State, uri: str) -> None:
    """The MLflow run of this run: the one that is known, else the one with its tag, else a new one.

    DlxError where it was deleted there.
    """
    if state.run_id and _stands(client, run, state):
        return
    fresh = State(state.uri, state.experiment, store.experiment_id(client, uri, state.experiment))
    quote = '"' if "'" in run.key else "'"
    found = client.search_runs([fresh.experiment_id], f"tags.`dlx.run` = {quote}{run.key}{quote}", max_results=1)
    if found:
        fresh.run_id = found[0].info.run_id
    else:
        started = content.milliseconds(run.started())
        made = client.create_run(fresh.experiment_id, started, content.run_tags(run.key), run.id)
        fresh.run_id, fresh.sure, fresh.status = made.info.run_id, True, "RUNNING"
    vars(state).update(vars(fresh))
    state.save(run)


def _stands(client: MlflowClient, run: Run, state: State) -> bool:
    """Whether the MLflow run that is known is there, and of this run. DlxError where it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(state.run_id)
        if found.data.tags.get("dlx.run", run.key) != run.key:
            return False
        if found.info.lifecycle_stage != "deleted":
            return True
        gone = client.get_experiment(found.info.experiment_id).lifecycle_stage == "deleted"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    what = f"experiment `{state.experiment}` was deleted in MLflow, and with it the" if gone else "the"
    back = (
        f"experiments restore --experiment-id {found.info.experiment_id}"
        if gone
        else f"runs restore --run-id {state.run_id}"
    )
    raise DlxError(
        f"{what} MLflow run {state.run_id} of {run.key}{' was deleted there' if not gone else ''}; "
        f"`rm {shlex.quote(str(run.dir / MEMORY))}` and `dlx runs sync {run.argument}` send it anew, `mlflow {back}` "
        "brings it back"
    )


# The files beside the records. Each is sent again when it has changed; sending twice does no harm.


def _part(client: MlflowClient, run: Run, state: State, name: str, send: Sender) -> None:
    if not os.path.lexists(run.dir / name):
        return
    path = run.file(name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if state.files.get(name) == digest:
        return
    client.log_artifact(state.run_id, str(path))
    try:
        send(client, run, state)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DlxError(f"{path} is damaged: it is not what dlx writes there") from error
    state.files[name] = digest
    state.save(run)


def _send_spec(client: MlflowClient, run: Run, state: State) -> None:
    params, tags = content.settings(run.dir / "spec.yaml")
    log_words(client, state.run_id, params, tags)


def _send_lock(client: MlflowClient, run: Run, state: State) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    lock = run.lock()
    log_words(client, state.run_id, {}, content.environment_tags(lock))
    data = content.dataset(lock)
    if data is not None:
        context = [InputTag("mlflow.data.context", "training")]
        client.log_inputs(state.run_id, [DatasetInput(Dataset(**data), context)])


def _send_plan(client: MlflowClient, run: Run, state: State) -> None:
    from mlflow.entities import Metric

    plan = run.read_json("plan.json")
    metrics, params = content.totals(plan)
    known = client.get_run(state.run_id).data.metrics
    when = content.milliseconds(run.started())
    client.log_batch(state.run_id, [Metric(key, v, when, 0) for key, v in metrics.items() if key not in known])
    table = '[{"path": "layers.json", "type": "table"}]'
    client.log_text(state.run_id, content.layer_table(plan), "layers.json")
    log_words(client, state.run_id, params, {"mlflow.loggedArtifacts": table})


Sender = Callable[["MlflowClient", Run, State], None]

PARTS: Mapping[str, Sender] = {
    "spec.yaml": _send_spec,
    "lock.json": _send_lock,
    "plan.json": _send_plan,
    "confusion.json": lambda *_: None,
}


def log_words(client: MlflowClient, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Parameters and tags, a hundred a call. A parameter of MLflow is never changed: what it has is left alone."""
    from mlflow.entities import Param, RunTag

    known = client.get_run(run_id).data.params if params else {}
    words = [Param(key, value) for key, value in params.items() if key not in known]
    labels = [RunTag(key, value) for key, value in tags.items()]
    for start in range(0, max(len(words), len(labels)), 100):
        client.log_batch(run_id, params=words[start : start + 100], tags=labels[start : start + 100])


# The records. They are sent in the order of the file, and the place behind each batch is kept.


@dataclass
class _Batch:
    """Whole records, up to about a thousand points, and how far the run is once they have arrived."""

    offset: int
    records: int
    last: dict[str, list[Any]]
    end: Record | None
    points: list[content.Point] = field(default_factory=list)


def _batches(run: Run, state: State) -> Iterator[_Batch]:
    batch = _Batch(state.offset, state.records, dict(state.last), state.end)
    for record, offset in run.records_from(state.offset):
        points = content.points(record, batch.last)
        if batch.points and len(batch.points) + len(points) > BATCH:
            yield batch
            batch = replace(batch, last=dict(batch.last), points=[])
        batch.offset, batch.records = offset, batch.records + 1
        batch.end = record if record["record"] == "end" else None
        batch.last.update({name: [step, repr(value)] for name, value, _, step in points})
        batch.points += points
    if batch.offset > state.offset:
        yield batch


def _send(client: MlflowClient, run: Run, state: State, batch: _Batch) -> None:
    """Exactly once: while it is open whether a batch has arrived, MLflow is asked before it is sent again."""
    from mlflow.entities import Metric

    points = batch.points if state.sure else missing(client, state.run_id, batch.points)
    if points:
        state.sure = False
        state.save(run)
    for start in range(0, len(points), BATCH):
        client.log_batch(state.run_id, [Metric(*point) for point in content.storable(points[start : start + BATCH])])
    not_finite = content.not_finite(batch.points, state.not_finite)
    if not_finite != state.not_finite:
        log_words(client, state.run_id, {}, content.not_finite_tag(not_finite))
        state.not_finite = not_finite
    state.offset, state.records, state.last, state.end = batch.offset, batch.records, batch.last, batch.end
    state.sure = True
    state.save(run)


def missing(client: MlflowClient, run_id: str, points: Sequence[content.Point]) -> list[content.Point]:
    """Those that MLflow does not have."""
    keys = {name for name, *_ in points}
    there = {(m.key, m.timestamp, m.step) for key in keys for m in client.get_metric_history(run_id, key)}
    return [point for point in points if (point[0], *point[2:]) not in there]


def _status(client: MlflowClient, run: Run, state: State) -> None:
    """MLflow's status follows the end record that was delivered; a run whose process is gone counts as killed."""
    standing = str(state.end["status"]) if state.end else run.status()
    status = STATUS.get(standing, "RUNNING") if state.end or standing == "died" else "RUNNING"
    if status == state.status:
        return
    if status == "RUNNING":
        client.update_run(state.run_id, status)
    else:
        last = state.end or run.last() or {"time": run.started()}
        client.set_terminated(state.run_id, status, content.milliseconds(last["time"]))
    log_words(client, state.run_id, {}, {"dlx.status": standing, "dlx.message": _message(state)})
    state.status = status
    state.save(run)


def _message(state: State) -> str:
    return content.cut((state.end or {}).get("message", ""), content.TAG)


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
