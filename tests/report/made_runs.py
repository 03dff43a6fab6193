"""Runs written by hand, whose curves are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlx.runs.folder import RunFolder
from dlx.runs.records import encode
from dlx.sweeps.study import Study
from dlx.sweeps.trial import Trial

SPEC = """\
dlx: 1
name: {name}
data: {{digits: {{valid: 0.2, test: 0.2}}}}
network: {{layers: [flatten, {{linear: {width}}}, relu, {{linear: 10}}]}}
train: {{steps: 100, seed: {seed}, optimizer: {{adam: {rate}}}}}
track: {{mlflow: false}}
"""
START = 1_700_000_000.0


def made_run(
    root: Path,
    name: str = "wide",
    seed: int = 0,
    *,
    number: int | None = None,
    width: int = 32,
    rate: float = 0.01,
    evaluations: Mapping[int, Mapping[str, float]] | None = None,
    steps: Iterable[tuple[int, float]] = (),
    end: Mapping[str, Any] | None = None,
    confusion: Sequence[Sequence[int]] | None = None,
    classes: Sequence[str] = ("cat", "dog"),
) -> RunFolder:
    """Write a run of a spec. Its records come a second apart; four steps are an epoch."""
    run = RunFolder(root / name / f"20260101-0000{seed if number is None else number:02d}-{seed:04x}")
    (run.dir / "checkpoints").mkdir(parents=True)
    run.write_text("spec.yaml", SPEC.format(name=name, width=width, seed=seed, rate=rate))
    run.write_json("lock.json", {"seed": seed, "pid": 2**22 + 1, "threads": 1, "data": {"digest": "d", "train": 8}})
    run.write_json("plan.json", {"name": name, "params": 64 * width + 10 * width, "macs": 64 * width})
    measured = [("evaluation", step, dict(metrics)) for step, metrics in (evaluations or {}).items()]
    measured += [("step", step, {"train/running_loss": value, "lr": rate}) for step, value in steps]
    measured.sort(key=lambda one: (one[1], one[0] == "evaluation"))
    lines = [encode({"record": "start", "time": START, "spec_hash": ""})]
    for at, (record, step, metrics) in enumerate(measured, 1):
        epoch = (step - 1) // 4 + 1
        lines.append(encode({"record": record, "time": START + at, "step": step, "epoch": epoch, "metrics": metrics}))
    if end is not None:
        last = {"record": "end", "time": START + len(measured) + 1, "step": 100, "seconds": 9.5, "status": "finished"}
        lines.append(encode({**last, "message": "", "metrics": {}, **end}))
    (run.dir / "metrics.jsonl").write_bytes(b"".join(lines))
    if confusion is not None:
        facts = {"rows": "target", "columns": "predicted", "classes": list(classes), "test": confusion}
        run.write_text("confusion.json", json.dumps(facts))
    return run


def made_study(root: Path, trials: Sequence[tuple[Mapping[str, Any], float]], name: str = "wide") -> Path:
    """Write a study of `test/error`, less of which is better, with a run for each point and value."""
    folder = root / name / "sweep-0123abcd"
    folder.mkdir(parents=True)
    study = Study.begin(folder, {"metrics": ["test/error"], "rising": [False]})
    found = []
    for number, (point, value) in enumerate(trials):
        plain = {
            "rate": point.get("train.optimizer.adam.lr", 0.01),
            "width": point.get("network.layers.linear_1", 32),
        }
        run = made_run(
            root,
            name,
            number=number,
            **plain,
            evaluations={4: {"valid/error": value}},
            end={"metrics": {"test/error": value}},
        )
        found.append(Trial(number, dict(point), 0, 100 + number, 50, runs={0: run.key}))
    study.record_generation(0, found, [])
    for trial, (_, value) in zip(study.trials, trials, strict=True):
        study.record_progress(trial, 100, {0: {"test/error": value}}, {0: 100}, 1.5, "finished")
    study.close()
    return folder
