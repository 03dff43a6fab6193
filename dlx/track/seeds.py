"""Deliver the seeds of one command to MLflow as one run above theirs: means, 95 % intervals, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from ..runs import origin
from ..runs.folder import SEEDS_ARTIFACTS, RunFolder, alive
from ..runs.records import RunRecord
from ..utils.intervals import half_interval, mean_of
from . import content
from .delivery import STATUS, Delivery, SyncState

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow shows a run below another."""
Curve = dict[tuple[str, int], tuple[float, int]]
"""Value and milliseconds of Unix time of each metric and step."""


@dataclass
class SeedsState(SyncState):
    """Record of what one store has of the run above some seeds."""

    described: bool = False
    ends: dict[str, float] = field(default_factory=dict)
    """Times of the ends over which the means were taken, by run."""
    status: str = ""


class SeedsDelivery(Delivery[SeedsState]):
    """Delivery of the seeds of one command; what it knows lies in the folder of the first that is there."""

    state_type: ClassVar[type[SyncState]] = SeedsState
    state_file: ClassVar[str] = "mlflow-seeds.json"
    lock_file: ClassVar[str] = "mlflow-seeds.lock"
    artifacts: ClassVar[str] = SEEDS_ARTIFACTS

    def __init__(self, run: RunFolder, group: origin.Group, uri: str, experiment: str) -> None:
        self.group = group
        self.seeds = [one for one in (RunFolder(run.root / key) for key in group.runs) if one.dir.is_dir()] or [run]
        super().__init__(self.seeds[0].dir, uri, experiment)

    @property
    def key(self) -> str:
        """The name of the group: that of its first run, whose own it must not be."""
        name, _, first = self.group.runs[0].rpartition("/")
        return f"{name}/seeds-{first}"

    def start_time(self) -> float:
        return self.seeds[0].started()

    def revision(self) -> object:
        return None

    def tags(self) -> dict[str, str]:
        return {"dlx.kind": "seeds"}

    def run_name(self) -> str:
        return content.run_name(origin.overrides_of(self.folder), f"{self.group.count} seeds")

    @cached_property
    def ends(self) -> dict[str, RunRecord]:
        """The end record of each seed that has finished."""
        ended = {one.key: one.end() for one in self.seeds}
        return {key: end for key, end in ended.items() if end is not None and end["status"] == "finished"}

    def deliver(self, final: bool) -> None:
        state = self.state
        if not state.described:
            self.describe()
            state.described = True
            self.save()
        status = self.status()
        times = {key: float(end["time"]) for key, end in self.ends.items()}
        if status != "RUNNING" and times and times != state.ends:
            # a seed may have gone on since: MLflow is asked which of the means it has
            state.sure = state.sure and not state.ends
            self.log_metrics(state, self.means())
            self.log_labels(state.run_id, {"dlx.seeds": f"{len(times)} of {self.group.count} finished"})
            state.ends = times
            self.save()
        if status != state.status:
            last = max((one.last() or {"time": one.started()} for one in self.seeds), key=lambda one: one["time"])
            self.set_status(state.run_id, status, last["time"])
            state.status = status
            self.save()

    def log_system_metrics(self) -> None:
        """Send nothing: the load of the machine is with each seed."""

    def describe(self) -> None:
        """Send what all seeds share: overrides, settings, counts of the plan."""
        params, tags = content.settings(self.folder.dir / "spec.yaml")
        own = {key: value for key, value in params.items() if key not in origin.SEEDS}
        own |= content.overrides(origin.overrides_of(self.folder)) | {"train.seeds": str(self.group.count)}
        totals, fields = content.totals(self.folder.read_json("plan.json"))
        self.log_labels(self.state.run_id, tags, own | fields, totals, self.start_time())
        self.log_datasets()

    def status(self) -> str:
        """Return MLflow's status of all together: running while one is, finished when all are."""
        each = [one.status() for one in self.seeds]
        if len(self.ends) == self.group.count:
            return "FINISHED"
        others = [one for one in each if one != "finished"]
        if "running" in others or (not others and self._goes_on()):
            return "RUNNING"
        return STATUS["failed" if "failed" in others else "stopped"]

    def _goes_on(self) -> bool:
        """Whether the process that trained the last seed is there, and the next one may begin."""
        pid = self.seeds[-1].lock().get("pid")
        return isinstance(pid, int) and alive(pid, (self.seeds[-1].dir / "lock.json").stat().st_mtime)

    def means(self) -> list[content.Point]:
        """Return the means over the seeds that have finished: of each point that all have, and of their ends with
        half the 95 % interval (Student's t).
        """
        finished = [one for one in self.seeds if one.key in self.ends]
        curves = [_curve(one) for one in finished]
        shared = [place for place in curves[0] if all(place in curve for curve in curves)]
        points = [
            (name, mean_of([curve[name, step][0] for curve in curves]), max(c[name, step][1] for c in curves), step)
            for name, step in shared
        ]
        ends = list(self.ends.values())
        step = max(int(end["step"]) for end in ends)
        when = content.milliseconds(max(float(end["time"]) for end in ends))
        for name, values in _final(ends).items():
            if (name, step) not in shared:
                points.append((name, mean_of(values), when, step))
            half = half_interval(values)
            if half is not None:
                points.append((content.name(f"{name}/interval95"), half, when, step))
        return points


def _curve(run: RunFolder) -> Curve:
    """Return the points of a run but its end."""
    found: Curve = {}
    for record in run.records():
        if record["record"] != "end":
            found |= {(name, step): (value, when) for name, value, when, step in content.points(record, {})}
    return found


def _final(ends: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the values of each metric with which all of the runs ended, and their seconds."""
    shared = [name for name in ends[0]["metrics"] if all(name in end["metrics"] for end in ends)]
    found = {content.name(name): [float(end["metrics"][name]) for end in ends] for name in shared}
    if all("seconds" in end for end in ends):
        found["seconds"] = [float(end["seconds"]) for end in ends]
    return found
