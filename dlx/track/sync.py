"""A run in MLflow: the files of its folder, and its records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from ..errors import DlxError
from ..runs.folder import Run
from ..runs.records import RECORDS, RunRecord, is_record
from . import content, store
from .delivery import BATCH, STATUS, Delivery, SyncResult, SyncState


@dataclass
class State(SyncState):
    """How far one run is in one store."""

    offset: int = 0
    records: int = 0
    last: dict[str, list[Any]] = field(default_factory=dict)
    """Each metric's last step and value."""
    end: RunRecord | None = None
    status: str = ""

    def fits(self, home: Run) -> bool:
        """Whether its end is one, and the records of the run have an end of a line at its offset."""
        if self.end is not None and not (is_record(self.end) and self.end["record"] == "end"):
            return False
        path = home.file(RECORDS) if self.offset else None
        if path is None:
            return True
        with path.open("rb") as file:
            file.seek(self.offset - 1)
            return file.read(1) == b"\n"


def sync(run: Run, uri: str | None = None, experiment: str | None = None) -> SyncResult:
    """Deliver what stands in the run folder and is not in MLflow. Never raises; call it as often as you like."""
    if uri is None and store.spec_track(run).get("mlflow") is False:
        return SyncResult(0, complete=True, run_id="", uri="MLflow, which its spec declines")
    return RunDelivery(run.dir, uri, experiment).sync()


class RunDelivery(Delivery[State]):
    """A run that is delivered."""

    memory: ClassVar[type[SyncState]] = State

    def begun(self) -> float:
        return self.home.started()

    def ended(self) -> bool:
        return self.home.end() is not None

    def glance(self) -> tuple[int, bool]:
        """Changes whenever a record was written, and when a file beside the records was."""
        path = self.home.dir / RECORDS
        return (path.stat().st_size if path.exists() else 0), (self.home.dir / "plan.json").exists()

    def deliver(self, over: bool) -> None:
        state = self.state
        state.status = "RUNNING" if self.origin == "made" else state.status
        for name, send in self.parts.items():
            self._part(name, send)
        for batch in _batches(self.home, state):
            self.tell(state, batch.points)
            self.sent += batch.records - state.records
            state.offset, state.records, state.last, state.end = batch.offset, batch.records, batch.last, batch.end
            self.save()
        self._status()
        if state.end is not None:
            self.give_model(self.home, state.end, state.run_id)

    # --- the files beside the records -------------------------------------------------------------------------------

    @property
    def parts(self) -> Mapping[str, Callable[[], None] | None]:
        """The files that are delivered, and what is told of each beside."""
        return {
            "spec.yaml": self._send_spec,
            "lock.json": self._send_lock,
            "plan.json": self._send_plan,
            "confusion.json": None,
        }

    def _part(self, name: str, send: Callable[[], None] | None) -> None:
        if not os.path.lexists(self.home.dir / name):
            return
        path: Path = self.home.file(name)

        def checked() -> None:
            try:
                if send is not None:
                    send()
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise DlxError(f"{path} is damaged: it is not what dlx writes there") from error

        self.attach(path, send=checked)

    def _send_spec(self) -> None:
        params, tags = content.settings(self.home.dir / "spec.yaml")
        self.label(self.state.run_id, tags, params)

    def _send_lock(self) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        lock = self.home.lock()
        self.label(self.state.run_id, content.environment_tags(lock))
        data = content.dataset(lock)
        if data is not None:
            context = [InputTag("mlflow.data.context", "training")]
            self.client.log_inputs(self.state.run_id, [DatasetInput(Dataset(**data), context)])

    def _send_plan(self) -> None:
        plan = self.home.read_json("plan.json")
        totals, params = content.totals(plan)
        self.client.log_text(self.state.run_id, content.layer_table(plan), "layers.json")
        table = {"mlflow.loggedArtifacts": '[{"path": "layers.json", "type": "table"}]'}
        self.label(self.state.run_id, table, params, totals, self.home.started())

    # --- how it stands ----------------------------------------------------------------------------------------------

    def _status(self) -> None:
        """MLflow's status follows the end record that was delivered; a run whose process is gone counts as killed."""
        state = self.state
        standing = str(state.end["status"]) if state.end else self.home.status()
        status = STATUS.get(standing, "RUNNING") if state.end or standing == "died" else "RUNNING"
        if status == state.status:
            return
        last = state.end or self.home.last() or {"time": self.home.started()}
        self.stand(state.run_id, status, last["time"])
        message = str((state.end or {}).get("message", ""))
        self.label(state.run_id, {"dlx.status": standing, "dlx.message": message})
        state.status = status
        self.save()


# The records. They are sent in the order of the file, and the place behind each batch is kept.


@dataclass
class _Batch:
    """Whole records, up to about a thousand points, and how far the run is once they have arrived."""

    offset: int
    records: int
    last: dict[str, list[Any]]
    end: RunRecord | None
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
