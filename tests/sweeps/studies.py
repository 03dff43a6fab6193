"""A small spec to search over, and what a journal says apart from times."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlx.sweeps import run as sweeps
from dlx.sweeps.events import SweepResult
from dlx.sweeps.plan import plan

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [1, 4, 4], classes: 3, train: 96, valid: 48, test: 24}}
network:
  layers:
    - flatten
    - linear: 6
    - relu
    - linear: 3
train: {epochs: 8, batch_size: 32, optimizer: {adam: {lr: 0.01}}}
"""
RATE = "train.optimizer.adam.lr=tag(log,interval(1e-4,1e-1))"
WIDTH = "network.layers.linear_1.out_features=range(2,12)"
HALVING = "++sweep.scheduler={successive_halving:{reduction_factor:2}}"
TIMES = {"time", "seconds"}


def spec_in(folder: Path, more: str = "", old: str = "", new: str = "") -> Path:
    """The spec in a folder, with something replaced in it, and more below it."""
    path = folder / "s.yaml"
    assert old in SPEC
    path.write_text(SPEC.replace(old, new) + more)
    return path


def swept(path: Path, runs: Path, *changes: str, trials: int | None = None, **how: Any) -> SweepResult:
    """A sweep in this process, unless `jobs` says otherwise."""
    callback = how.pop("callback", lambda _: None)
    made = plan(path, changes, runs, trials, how.pop("study", ""))
    return sweeps.run(made, sweeps.SweepOptions(**how), callback)


def journal(found: SweepResult | Path) -> list[dict[str, Any]]:
    """The facts without times."""
    folder = found if isinstance(found, Path) else found.study.folder
    lines = (folder / "study.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def weights(run: str | Path) -> str:
    """The checksum of what a run ended with."""
    return str(json.loads((Path(run) / "checkpoints" / "final.json").read_text())["sha256"])


def starts(runs: Path, keys: Sequence[str]) -> int:
    """How often these runs were started or gone on with."""
    records = [line for key in keys for line in (runs / key / "metrics.jsonl").read_text().splitlines()]
    return sum(json.loads(line)["record"] == "start" for line in records)
