"""`dlx reproduce`: train a run again from its folder, and compare the results."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..data import input_record
from ..errors import DlxError
from ..experiment import runner
from ..experiment.recorder import Callback
from ..lazy import torch
from ..runs.folder import RunFolder
from ..spec import load
from ..training.checkpoints import checkpoint
from . import compare
from .compare import CurveDifference

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-3
"""The largest relative difference of a figure, or of a tensor against its largest value, that still counts as the
same result."""
OWN = ("pid", "command", "spec", "way")
"""Keys of a lock that belong to its process and not to the result."""
CARRIED = ("plan.json", input_record.FILE)
"""Files that follow from the spec and the data alone."""


@dataclass(frozen=True)
class Deviation:
    """Largest difference in a tensor of a checkpoint, as a fraction of its largest value."""

    checkpoint: str
    name: str
    relative: float

    @property
    def layer(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    def as_json(self) -> dict[str, Any]:
        off = self.relative if self.relative < float("inf") else None
        return {"checkpoint": self.checkpoint, "tensor": self.name, "layer": self.layer, "relative": off}


@dataclass(frozen=True)
class Reproduction:
    """A run and its reproduction."""

    run: RunFolder
    new: RunFolder
    tolerance: float
    changed: dict[str, tuple[Any, Any]]
    """Values of the lock that are not those of today, by key: before and now."""
    difference: CurveDifference | None
    """The first figure of the curve that differs by more than the tolerance, or else at all."""
    deviation: Deviation | None
    """The tensor with the largest deviation, in the first checkpoint of both that has one."""
    largest: float
    """The largest relative difference of all."""

    @property
    def verdict(self) -> Literal["bitwise equal", "within tolerance", "differs"]:
        if self.difference is None and self.deviation is None:
            return "bitwise equal"
        return "within tolerance" if self.largest <= self.tolerance else "differs"

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "run": self.run.key,
            "new": self.new.key,
            "dir": str(self.new.dir),
            "tolerance": self.tolerance,
            "largest": self.largest if self.largest < float("inf") else None,
            "first": self.difference.as_json() if self.difference is not None else None,
            "tensor": self.deviation.as_json() if self.deviation is not None else None,
            "lock": {key: {"was": was, "is": now} for key, (was, now) in self.changed.items()},
        }


def reproduce(
    run: RunFolder, runs: Path, tolerance: float = TOLERANCE, callback: Callback | None = None
) -> Reproduction:
    """Train a finished run again, in a new folder. Raises DlxError where it has not finished or its data has
    changed.
    """
    if run.status() != "finished":
        hint = f"`dlx train --resume {run.argument}` goes on with it."
        raise DlxError(f"{run.key} has not finished, and there is no result to reproduce", hint=hint)
    with _new_folder(run, runs) as new:
        loaded, results = runner.resume(new, callback)
    runner.finish_tracking(loaded, results)
    if results.results[0].status != "finished":
        raise DlxError(f"{new.key} was stopped", hint=f"`dlx train --resume {new.argument}` brings it to its end.")
    return compare_runs(run, new, tolerance)


def prepare_copy(run: RunFolder, runs: Path) -> RunFolder:
    """Create a new run with the spec of another and the choices of its lock, ready to be resumed from step 0."""
    lock = run.lock()
    if not lock:
        raise DlxError(f"{run.dir} has no lock.json, which says what it was run with")
    found = load(run.file("spec.yaml"))
    kind = str(lock.get("device", "auto")).partition(":")[0].partition(" ")[0]
    chosen = found.train.device if found.train is not None else kind
    # the lock has the device that was used; another kind of device gives other bits
    if chosen == "auto" and (kind == "cpu" or (kind == "cuda" and torch.cuda.is_available())):
        found = load(run.file("spec.yaml"), [f"++train.device={kind}"])
    new = RunFolder.create(runs, run.name)
    found.keep_plugins(new.dir)
    new.write_text("spec.yaml", found.resolved())
    for name in CARRIED:
        if (run.dir / name).exists():
            shutil.copyfile(run.file(name), new.dir / name)
    # the lock of the copy makes the new run take the thread count of the old one instead of measuring its own
    own = {"spec_hash": hashlib.sha256(found.resolved().encode()).hexdigest()}
    new.write_json("lock.json", {key: value for key, value in lock.items() if key not in OWN} | own)
    return new


@contextmanager
def _new_folder(run: RunFolder, runs: Path) -> Iterator[RunFolder]:
    """Create the folder of the new run; it is removed where training raises before its first record."""
    new = prepare_copy(run, runs)
    try:
        yield new
    except DlxError:
        if next(new.records(), None) is None:
            shutil.rmtree(new.dir)
        raise


def compare_runs(run: RunFolder, new: RunFolder, tolerance: float = TOLERANCE) -> Reproduction:
    """Compare two finished runs."""
    differences = list(compare.curve_differences(run, new))
    beyond_tolerance = next((one for one in differences if one.relative > tolerance), None)
    here, there = compare.checkpoints(run), compare.checkpoints(new)
    deviations = [deviation for name in here if name in there for deviation in _deviations(here[name], there[name])]
    deviation = _largest_deviation(deviations, beyond_tolerance.step if beyond_tolerance is not None else 0)
    off = [*(one.relative for one in differences), *(one.relative for one in deviations)]
    changed = dict(_changed(_flat(run.lock()), _flat(new.lock())))
    first = beyond_tolerance or next(iter(differences), None)
    return Reproduction(run, new, tolerance, changed, first, deviation, max(off, default=0.0))


def _deviations(a: Path, b: Path) -> Iterator[Deviation]:
    """Yield the weights that differ between two checkpoints."""
    _, one = checkpoint.read(a.parent, a.stem)
    _, other = checkpoint.read(b.parent, b.stem)
    for name in one | other:
        if name.startswith("state/"):
            continue
        if name not in one or name not in other or one[name].shape != other[name].shape:
            yield Deviation(a.stem, name, float("inf"))
        elif not torch.equal(one[name], other[name]):
            yield Deviation(a.stem, name, _off(one[name], other[name]))


def _off(a: Tensor, b: Tensor) -> float:
    largest = float(a.double().abs().max())
    return float((a.double() - b.double()).abs().max()) / largest if largest else float("inf")


def _largest_deviation(deviations: list[Deviation], step: int) -> Deviation | None:
    """Return the largest deviation in the first checkpoint from `step` on."""
    after = [
        deviation
        for deviation in deviations
        if not deviation.checkpoint.startswith("step-") or int(deviation.checkpoint[5:]) >= step
    ]
    first = [deviation for deviation in after if deviation.checkpoint == after[0].checkpoint]
    return max(first, key=lambda deviation: deviation.relative, default=None)


def _flat(lock: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Flatten a lock to dotted names, without the keys of its own process."""
    found: dict[str, Any] = {}
    for key, value in lock.items():
        if not above and key in (*OWN, "spec_hash"):
            continue
        found |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def _changed(was: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in was | now:
        if was.get(key) != now.get(key):
            yield key, (was.get(key), now.get(key))
