"""Compare two runs: the figures of their curves, and the tensors of their checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..runs.folder import RunFolder
from ..runs.records import LOSS, RunRecord, has_old_loss_name, with_current_names
from ..training.checkpoints.safetensors_pieces import digests
from ..utils.json_documents import nonfinite_as_words


@dataclass(frozen=True)
class CurveDifference:
    """A figure of one record that differs between two runs; None where one of them lacks it."""

    record: str
    step: int
    metric: str
    first: float | None
    second: float | None

    @property
    def relative(self) -> float:
        """The difference as a fraction of the first figure."""
        return relative(self.first, self.second) if self.metric else math.inf

    def __str__(self) -> str:
        where = {"step": f"step {self.step:,}", "evaluation": f"the evaluation of step {self.step:,}"}
        what = f"{self.metric or 'the records'} at {where.get(self.record, 'the end')}"
        return f"{what}: {_figure(self.first)} and {_figure(self.second)}" if self.metric else what

    def as_json(self) -> dict[str, Any]:
        about = {"record": self.record, "step": self.step, "metric": self.metric}
        return {**about, "first": nonfinite_as_words(self.first), "second": nonfinite_as_words(self.second)}


def relative(a: float | None, b: float | None) -> float:
    """Return |a - b| / |a|; 0 for equal figures, two NaN included."""
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) / abs(a) if a and math.isfinite(a) and math.isfinite(b) else math.inf


def curve_differences(a: RunFolder, b: RunFolder) -> Iterator[CurveDifference]:
    """Yield every figure in which two curves differ, in the order of training.

    `train/loss` at the end is left out where one of the runs is from before 2026-11-28, which did not evaluate it.
    """
    ours, theirs = _curve(a), _curve(b)
    old = any(has_old_loss_name(record) for record in (*ours, *theirs))
    for one, other in zip_longest(ours, theirs):
        here = one or other
        assert here is not None
        # behind a record that one of them lacks all others would differ too
        if one is None or other is None or _position(one) != _position(other):
            yield CurveDifference(*_position(here), "", None, None)
            return
        first, second = _figures(one), _figures(other)
        for metric in first | second:
            was, now = first.get(metric), second.get(metric)
            if relative(was, now) and not (old and here["record"] == "end" and metric == LOSS):
                yield CurveDifference(*_position(here), metric, was, now)


def record_count(run: RunFolder) -> int:
    """Return the number of records of its curve."""
    return len(_curve(run))


def _curve(run: RunFolder) -> list[RunRecord]:
    """Return the losses, the evaluations, and the end record."""
    records: list[RunRecord] = [r for r in run.records() if r["record"] in {"step", "evaluation"}]
    end = run.end()
    return [*records, *([end] if end is not None else [])]


def _position(record: RunRecord) -> tuple[str, int]:
    return record["record"], record["step"]


def _figures(record: RunRecord) -> dict[str, float]:
    """Return the metrics of a record by today's names."""
    found: dict[str, float] = record["metrics"]
    return with_current_names(found) if record["record"] == "step" else found


def checkpoints(run: RunFolder) -> dict[str, Path]:
    """Return its checkpoints by name, in the order in which they were written."""
    found = sorted((run.dir / "checkpoints").glob("*.safetensors"), key=lambda p: (not p.stem.startswith("step-"), p))
    return {path.stem: path for path in found}


def contents(path: Path) -> dict[str, str]:
    """Return the content of a checkpoint by name: the SHA-256 of each tensor, and every figure beside them."""
    facts = json.loads(path.with_suffix(".json").read_bytes())
    moved = facts.pop("moved", {})
    figures = {key: value for key, value in facts.items() if key not in {"sha256", "facts_sha256"}}
    return digests(path) | dict(_leaves(figures, "facts")) | dict(_leaves(moved, "state"))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield the figures in a state that is packed as JSON; a list of plain figures counts as one."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(inner := next(iter(value.values())), list):
        value = dict(_named(inner)) if "dict" in value else inner
    if isinstance(value, list) and any(isinstance(child, dict | list) for child in value):
        value = {str(place): child for place, child in enumerate(value)}
    if not isinstance(value, dict):
        yield name, json.dumps(value)
        return
    for key, child in value.items():
        yield from _leaves(child, f"{name}/{key}")


def _named(pairs: list[Any]) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        yield key if isinstance(key, str) else json.dumps(key), value


def differing_names(a: Path, b: Path) -> tuple[list[str], int]:
    """Return the names whose content differs between two checkpoints, and the number of names."""
    one, other = contents(a), contents(b)
    names = list(one | other)
    return [name for name in names if one.get(name) != other.get(name)], len(names)


def _figure(value: float | None) -> str:
    return "nothing" if value is None else repr(value)
