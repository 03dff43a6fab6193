"""Shared by the benchmarks that train: a spec once for each seed, and not again what a folder of runs holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from dlx.experiment import runner
from dlx.experiment.runner import Result, Results
from dlx.graph import trace
from dlx.runs.folder import RunFolder
from dlx.spec import load

ALONE = ["track.mlflow=false", "train.threads=1"]
"""Nothing beside the run folder, and one thread, whoever else is at work."""


def results(spec: Path, changes: Sequence[str], seeds: int, folder: Path) -> Results:
    """What a spec comes to with so many seeds; further ones that the folder holds count too."""
    asked = load(spec, [*changes, *ALONE])
    found: list[Result] = []
    for seed in count():
        one = asked.with_seed(seed)
        run = _done(one, folder)
        if run is None and seed >= seeds:
            break
        if run is None:
            runner.run(one, folder)
            run = _done(one, folder)  # of an ensemble its own run, not those of its members
            assert run is not None
        end = run.end() or {}
        found.append(Result(run, seed, end["step"], end["seconds"], end["metrics"]))
        errors = ", ".join(f"{k} {v:.4f}" for k, v in end["metrics"].items() if k.endswith("error"))
        sys.stderr.write(f"{one.name}, seed {seed}: {errors}, {end['seconds']:.0f} s\n")
    return Results(tuple(found), trace(asked))


def _done(wanted: Any, folder: Path) -> RunFolder | None:
    """A finished run of just this experiment; what it claims or is called does not matter."""
    for path in sorted(folder.glob("*/*/spec.yaml")):
        if RunFolder(path.parent).status() == "finished" and _what_counts(load(path)) == _what_counts(wanted):
            return RunFolder(path.parent)
    return None


def _what_counts(one: Any) -> dict[str, Any]:
    """All of a spec that its results depend on; of files their names, wherever they lie."""
    plain: dict[str, Any] = one.with_seed(one.train.seed).root.plain()
    train = {key: value for key, value in plain["train"].items() if key not in {"threads", "device", "trace"}}
    ignored = {"dlx", "name", "source", "expect", "track", "train", "data"}
    rest = {key: value for key, value in plain.items() if key not in ignored}
    return {"train": train, "data": _named(plain["data"])} | rest


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    return Path(value).name if isinstance(value, str) and "/" in value else value
