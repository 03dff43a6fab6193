"""All numbers that a run has recorded, by their keys: what a scatter and a table can show of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import DlxError
from ..runs.folder import RunFolder
from ..spec import Experiment, load
from ..spec.spec_keys import SpecKeys
from ..trained.difference import spec_of_run

COUNTS = ("params", "trainable", "buffers", "macs", "activation_bytes")
"""Figures of `plan.json`."""


def values_of(run: RunFolder) -> dict[str, float]:
    """Return the final metrics of a run, its costs and counts, its seed, and the numbers of its resolved spec.

    A run that has not ended has the metrics of its last evaluation.
    """
    plan, lock = run.read_json("plan.json"), run.lock()
    counts = {name: float(plan[name]) for name in COUNTS if is_number(plan.get(name))}
    data = {f"data.{name}": float(value) for name, value in (lock.get("data") or {}).items() if is_number(value)}
    about = {name: float(lock[name]) for name in ("seed", "threads") if is_number(lock.get(name))}
    return {**numbers(spec_of_run(run)), **data, **about, **counts, **_measured(run)}


def _measured(run: RunFolder) -> dict[str, float]:
    end = run.end()
    if end is not None:
        costs = {"seconds": float(end.get("seconds", 0.0)), "steps": float(end.get("step", 0))}
        return {**costs, **end["metrics"]}
    evaluations = [record for record in run.records() if record["record"] == "evaluation"]
    return {"steps": float(evaluations[-1]["step"]), **evaluations[-1]["metrics"]} if evaluations else {}


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """Return the numbers in a spec, each by its key; of a kind with one number, `adam: 0.01`, that is the key."""
    if isinstance(value, Mapping):
        return {k: v for key, child in value.items() for k, v in numbers(child, f"{path}.{key}".lstrip(".")).items()}
    return {path: float(value)} if is_number(value) else {}


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_of(run: RunFolder, values: Mapping[str, float], key: str) -> float | None:
    """Return the number of a key of a run: in full, or by its end where that is of one key alone; None without one.

    A key of the spec may be one that it leaves out or shortens: `train.optimizer.adam.lr` of `{adam: 0.01}`.
    """
    if key in values:
        return values[key]
    found = [value for name, value in values.items() if name.endswith(f".{key}")]
    return found[0] if len(found) == 1 else _of_spec(run, key)


def experiment_of(run: RunFolder) -> Experiment:
    """Return the spec of a run, which is read once for all pictures of a process."""
    return _experiment(run.file("spec.yaml"), run.file("spec.yaml").stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _experiment(path: Path, written: int) -> Experiment:  # noqa: ARG001 - the time of writing tells versions apart
    return load(path)


def _of_spec(run: RunFolder, key: str) -> float | None:
    try:
        value = SpecKeys(experiment_of(run)).find(key).value
    except DlxError:
        return None
    return float(value) if is_number(value) else None
