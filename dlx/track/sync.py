"""Deliver a run to MLflow: the files of its folder, and its records."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from ..errors import DlxError
from ..plugins import FOLDER
from ..runs import origin
from ..runs.folder import BASELINE, TAGS, RunFolder
from ..runs.origin import ORIGIN
from ..runs.records import RECORDS, RunRecord, is_record
from . import arrivals, content, store
from .delivery import BATCH, STATE_FILE, STATUS, Delivery, SyncResult, SyncState
from .scalars import ScalarFiles, error_of
from .seeds import PARENT, SeedsDelivery


@dataclass
class RunState(SyncState):
    """Record of what one store has of a run."""

    offset: int = 0
    """Bytes of `metrics.jsonl` that have arrived."""
    records: int = 0
    last: dict[str, list[Any]] = field(default_factory=dict)
    """Last step and value of each metric, as `[step, repr(value)]`."""
    end: RunRecord | None = None
    status: str = ""
    parent: str = ""
    """The MLflow run that it is below: of its seeds, or of the ensemble that it is a member of."""

    def fits(self, folder: RunFolder) -> bool:
        """Whether its end is an end record, and the file of records has the end of a line at its offset."""
        if self.end is not None and not (is_record(self.end) and self.end["record"] == "end"):
            return False
        path = folder.file(RECORDS) if self.offset else None
        if path is None:
            return True
        with path.open("rb") as file:
            file.seek(self.offset - 1)
            return file.read(1) == b"\n"


def sync(
    run: RunFolder, uri: str | None = None, experiment: str | None = None, *, waited: bool = False
) -> SyncResult:
    """Deliver what the run folder holds and MLflow does not. Never raises; repeated calls send nothing twice.

    Where its mirror was `waited` for and has delivered all, MLflow is not asked again.
    """
    if waited and uri is None and not arrivals.is_behind(run):
        state = run.read_json(STATE_FILE)
        return SyncResult(0, True, str(state.get("run_id", "")), str(state.get("uri", "")), waited=True)
    error = error_of(ScalarFiles(run.dir))
    if uri is None and store.track_section(run).get("mlflow") is False:
        return SyncResult(0, not error, run_id="", uri="MLflow, which its spec declines", error=error)
    return RunDelivery(run.dir, uri, experiment).sync().with_error(error).with_waiting(waited)


class RunDelivery(Delivery[RunState]):
    """Delivery of a run."""

    state_type: ClassVar[type[SyncState]] = RunState

    def start_time(self) -> float:
        return self.folder.started()

    def run_name(self) -> str:
        """Return what was changed, with the seed where it is one of several; the id of the run where nothing was."""
        label, group = self.folder.baseline(), origin.group_of(self.folder)
        seed = f"seed {store.section(self.folder, 'train').get('seed', 0)}" if group is not None else ""
        return content.run_name(origin.overrides_of(self.folder), label, seed) or self.folder.id

    def has_ended(self) -> bool:
        return self.folder.end() is not None

    def revision(self) -> tuple[int, bool]:
        """Return the size of the records, and whether the plan is written."""
        path = self.folder.dir / RECORDS
        return (path.stat().st_size if path.exists() else 0), (self.folder.dir / "plan.json").exists()

    def deliver(self, final: bool) -> None:
        state = self.state
        state.status = "RUNNING" if self.origin == "made" else state.status
        group = origin.group_of(self.folder)
        above = self._above(group) if group is not None and not self._is_alone(group) else None
        if above is not None and not state.parent:
            state.parent = above.identify()
            self.log_labels(state.run_id, {PARENT: state.parent})
            self.save()
        for name, send in self.parts.items():
            self._part(name, send)
        for copy in sorted((self.folder.dir / FOLDER).rglob("*.py")):
            inside = copy.relative_to(self.folder.dir)
            self.log_file(self.folder.file(str(inside)), str(inside.parent), name=str(inside))
        # a record is sent whole: an offset inside of one could not be recorded
        for batch in _batches(self.folder, state):
            self.log_metrics(state, batch.points)
            self.sent += batch.records - state.records
            state.offset, state.records, state.last, state.end = batch.offset, batch.records, batch.last, batch.end
            self.save()
        self._status()
        if state.end is not None:
            self.log_model(self.folder, state.end, state.run_id)
            if isinstance(above, SeedsDelivery) and (error := above.sync().error):
                raise DlxError(error)

    def _is_alone(self, group: origin.Group) -> bool:
        """Whether the ensemble of a member is gone."""
        return group.kind == "members" and not (self.folder.root / group.of).is_dir()

    def _above(self, group: origin.Group) -> Delivery[Any]:
        """Return the delivery of the run above this one: of its seeds, or of its ensemble."""
        if group.kind == "seeds":
            return SeedsDelivery(self.folder, group, self.uri, self.experiment)
        return RunDelivery(self.folder.root / group.of, self.uri, self.experiment)

    # --- the files beside the records -------------------------------------------------------------------------------

    @property
    def parts(self) -> Mapping[str, Callable[[], None] | None]:
        """Return the files that are delivered, each with a function that sends what else is made of it."""
        return {
            ORIGIN: self._send_origin,  # before the settings: what an override says stays
            "spec.yaml": self._send_spec,
            "lock.json": self._send_lock,
            "plan.json": self._send_plan,
            "confusion.json": None,
            BASELINE: self._send_baseline,
            TAGS: self._send_tags,
        }

    def _part(self, name: str, send: Callable[[], None] | None) -> None:
        if not os.path.lexists(self.folder.dir / name):
            return
        path: Path = self.folder.file(name)

        def checked() -> None:
            try:
                if send is not None:
                    send()
            # a file that a user has edited must not be reported as an error of MLflow
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise DlxError(f"{path} is damaged: it is not what dlx writes there") from error

        self.log_file(path, send=checked)

    def _send_origin(self) -> None:
        self.log_labels(self.state.run_id, {}, content.overrides(origin.overrides_of(self.folder)))

    def _send_spec(self) -> None:
        params, tags = content.settings(self.folder.dir / "spec.yaml")
        self.log_labels(self.state.run_id, tags, params)

    def _send_lock(self) -> None:
        self.log_labels(self.state.run_id, content.environment_tags(self.folder.lock()))
        self.log_datasets()

    def _send_tags(self) -> None:
        tags = {content.name(key): content.cut(value, content.TAG) for key, value in self.folder.tags().items()}
        self.log_labels(self.state.run_id, tags, {})

    def _send_baseline(self) -> None:
        about = self.folder.read_json(BASELINE)
        params = {"baseline": str(about["kind"])}
        params |= {
            content.name(f"baseline.{name}"): content.cut(json.dumps(v), content.VALUE)
            for name, v in about["options"].items()
        }
        notes = {"dlx.notes": content.cut("; ".join(about["notes"]), content.TAG)} if about["notes"] else {}
        self.log_labels(self.state.run_id, {"dlx.baseline": str(about["label"]), **notes}, params)

    def _send_plan(self) -> None:
        plan = self.folder.read_json("plan.json")
        totals, params = content.totals(plan)
        self.client.log_text(self.state.run_id, content.layer_table(plan), "layers.json")
        table = {"mlflow.loggedArtifacts": '[{"path": "layers.json", "type": "table"}]'}
        self.log_labels(self.state.run_id, table, params, totals, self.folder.started())

    # --- how it stands ----------------------------------------------------------------------------------------------

    def _status(self) -> None:
        """Set MLflow's status to that of the end record that was delivered; a run whose process died counts as
        killed.
        """
        state = self.state
        state_name = str(state.end["status"]) if state.end else self.folder.status()
        status = STATUS.get(state_name, "RUNNING") if state.end or state_name == "died" else "RUNNING"
        if status == state.status:
            return
        last = state.end or self.folder.last() or {"time": self.folder.started()}
        self.set_status(state.run_id, status, last["time"])
        message = str((state.end or {}).get("message", ""))
        self.log_labels(state.run_id, {"dlx.status": state_name, "dlx.message": message})
        state.status = status
        self.save()


# Records are sent in the order of the file; the state is saved after each batch, so a kill repeats one batch at most.


@dataclass
class _Batch:
    """Whole records of up to about a thousand points, and the state of the run once they have arrived."""

    offset: int
    records: int
    last: dict[str, list[Any]]
    end: RunRecord | None
    points: list[content.Point] = field(default_factory=list)


def _batches(run: RunFolder, state: RunState) -> Iterator[_Batch]:
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
