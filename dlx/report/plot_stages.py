"""Runs with stages: each has curves and panels of its own, for the next does not go on with what it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import DlxError
from ..runs.folder import RunFolder
from ..runs.records import RECORDS, parse
from ..utils import files
from .plot_records import Curves, in_stage

STAGE_RECORD = b'{"record":"stage"'
"""How the line of a stage that has ended begins."""


@dataclass(frozen=True)
class StageEnd:
    """A stage that has ended: its own updates and seconds, and its final metrics."""

    name: str
    steps: int
    seconds: float
    metrics: Mapping[str, float]


def stages_of(each: Iterable[Sequence[Curves]]) -> dict[str, str]:
    """Return the stage of each curve that is of one, in the order of the stages."""
    points = [(name, one) for runs in each for curves in runs for name, one in curves.items() if one.stage]
    return {name: one.stage for name, one in sorted(points, key=lambda pair: int(pair[1].step[0]))}


def expanded(metrics: Iterable[str], known: Iterable[str], stages: Mapping[str, str]) -> list[str]:
    """Return the metrics that are meant: one that no run has by itself is that of all stages that have it."""
    found, there = list[str](), set(known)
    for metric in metrics:
        of_stages = [in_stage(metric, stage) for stage in dict.fromkeys(stages.values())]
        meant = [name for name in of_stages if name in there] if metric not in there else []
        found += meant or [metric]
    return found


def main_of_each(
    each: Iterable[Sequence[Iterable[str]]],
    stages: Mapping[str, str],
    main: Callable[[list[list[list[str]]]], list[str]],
) -> list[str]:
    """Return what `main` takes of the metrics of each stage, and of those without one where there are no stages."""
    names = [[list(one) for one in runs] for runs in each]
    if not stages:
        return main(names)
    found = []
    for stage in dict.fromkeys(stages.values()):
        own = [
            [[n.removeprefix(f"{stage}/") for n in one if stages.get(n) == stage] for one in runs] for runs in names
        ]
        found += [in_stage(name, stage) for name in main(own)]
    return found


def ends_of(run: RunFolder) -> list[StageEnd]:
    """Return the stages of a run that have ended, in their order; empty for a run without stages."""
    names = list(run.lock().get("stages") or {})
    if not names:
        return []
    try:
        lines = files.read(run.dir / RECORDS).splitlines()
    except OSError as error:
        raise DlxError(f"{run.dir / RECORDS} cannot be read: {files.reason(error)}") from error
    records = [record for line in lines if line.startswith(STAGE_RECORD) and (record := parse(line)) is not None]
    end = run.end()
    if end is not None and len(records) < len(names):
        records.append({**end, "stage": names[len(records)]})
    found, steps, seconds = list[StageEnd](), 0, 0.0
    for record in records:
        passed = float(record.get("seconds", seconds))
        metrics = {name: float(value) for name, value in record["metrics"].items()}
        found.append(StageEnd(str(record["stage"]), record["step"] - steps, passed - seconds, metrics))
        steps, seconds = record["step"], passed
    return found
