"""A finished run that is trained for longer: `dlx train --resume RUN train.epochs=N`, N the new total."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DlxError
from ..runs import origin
from ..runs.folder import RunFolder
from ..schedules import Timeline
from ..spec import Experiment, Train, load
from ..training.checkpoints import checkpoint, training_state
from ..training.fit import curve_period, evaluation_period
from ..training.prepared import Prepared, prepare, span_of
from .resume_checks import check_digest, check_spec, unchanged
from .session import describe

LENGTH = re.compile(r"\+{0,2}train\.(epochs|steps)=\d+")


def extended(run: RunFolder, changes: Sequence[str], runs: Path) -> RunFolder:
    """Create the run that goes on with a finished one from its newest training state, ready to be resumed.

    It has the bits that the longer training would have had from the start. DlxError where its schedule, its average
    or the times of its evaluations depend on the length, and so were others.
    """
    if run.status() != "finished" or len(changes) != 1 or not LENGTH.fullmatch(changes[0]):
        raise unchanged(run, changes)
    old = load(run.file("spec.yaml"))
    check_spec(run, old)
    new = _longer(old, changes[0])
    if old.stages or (old.train is not None and old.train.ensemble is not None):
        what = "stages" if old.stages else "members"
        hint = "Train it anew for longer, or start another from its weights: `dlx train SPEC --init-from RUN`."
        raise DlxError(
            f"{run.key} has {what}, and a finished run that has some cannot be trained for longer", hint=hint
        )
    if old.train is not None and old.train.keep_best is not None:
        message = f"{run.key} keeps its best checkpoints, and the longer training would begin without them"
        raise DlxError(message, hint="Train its spec anew for longer.")
    prepared = prepare(new, sources=False)
    check_digest(run, prepared.sets, "Bring the old data back, or train anew.")
    spans = span_of(old, prepared.sets), span_of(new, prepared.sets)
    _check_lengths(run, old, prepared, spans)
    return _continued(run, prepared, runs, spans)


def _longer(old: Experiment, change: str) -> Experiment:
    """Return the spec with another length: `steps` and `epochs` replace each other."""
    train, key = old.train, change.lstrip("+").partition("=")[0]
    other = "steps" if key.endswith("epochs") else "epochs"
    drop = [f"~train.{other}"] if train is not None and getattr(train, other) is not None else []
    return old.changed([*drop, f"++{change.lstrip('+')}"])


def _check_lengths(run: RunFolder, old: Experiment, prepared: Prepared, spans: tuple[Timeline, Timeline]) -> None:
    """Raise DlxError where the new training is not longer, or its first part is another than the old one."""
    before, after = spans
    anew = f"`dlx train {run.dir} train.{'steps' if prepared.train.steps else 'epochs'}=N` trains its spec anew."
    if after.steps <= before.steps:
        message = f"{run.key} has {before.steps:,} steps, and {after.steps:,} in all are asked for"
        raise DlxError(message, hint="N is the new total.")
    assert old.train is not None
    for name in prepared.graphs:
        one = prepared.train.of(name)
        step = next((s for s in range(before.steps) if one.schedule.at(s, before) != one.schedule.at(s, after)), None)
        if step is not None:
            rates = f"{one.schedule.at(step, before):.6g} and {one.schedule.at(step, after):.6g} of the rate"
            message = f"the schedule `{one.schedule.kind}` follows the length: at step {step + 1:,} it has {rates}"
            raise DlxError(f"{message}, with {before.steps:,} and {after.steps:,} steps", hint=anew)
        average = one.average
        if average is not None and any(
            average.share(s, count, before) != average.share(s, count, after)
            for s in range(1, before.steps + 1)
            for count in (0, s)
        ):
            raise DlxError(
                f"the average `{average.kind}` of the weights follows the length of the training", hint=anew
            )
    if watched := _watched(prepared.train, prepared):
        periods = evaluation_period(old.train, before), evaluation_period(prepared.train, after)
        if periods[0] != periods[1]:
            message = (
                f"{watched} follows the evaluations, which come every {periods[0]:,} and every {periods[1]:,} steps"
            )
            raise DlxError(message, hint=anew)


def _watched(train: Train, prepared: Prepared) -> str:
    """Return what changes the training by the metrics of evaluations; empty where nothing does."""
    if train.early_stopping is not None:
        return "early stopping"
    watches = (train.of(name).schedule.watch() for name in prepared.graphs)
    return "the schedule" if any(watch is not None for watch in watches) else ""


def _continued(run: RunFolder, prepared: Prepared, runs: Path, spans: tuple[Timeline, Timeline]) -> RunFolder:
    """Create the longer run with the newest state of the old one and its records up to there."""
    (steps, *_), after = spans
    newest = training_state.newest(run.dir / "checkpoints")
    ended = run.end() or {}
    if newest is None or ended.get("step", steps) < steps:
        why = "it has no training state" if newest is None else "it ended early"
        raise DlxError(f"{run.key} cannot be trained for longer: {why}", hint="`dlx train RUN` trains its spec anew.")
    name, facts, tensors = newest
    folder = RunFolder.create(runs, prepared.experiment.name)
    describe(folder, prepared)
    longer = {key: value for key, value in origin.overrides_of(folder).items() if not key.startswith("~")}
    before = {k: v for k, v in origin.overrides_of(run).items() if k not in ("train.steps", "train.epochs")}
    origin.record_overrides(folder, before | longer)
    lock: dict[str, Any] = dict(run.numeric_settings())
    lock |= {key: run.lock()[key] for key in ("weights", "networks") if key in run.lock()}
    folder.write_json("lock.json", lock | {"continues": {"run": run.key, "step": facts["step"]}})
    about = {key: value for key, value in facts.items() if key not in checkpoint.OWN_FACTS}
    checkpoint.write(folder.dir / "checkpoints", name, tensors, about)
    train = prepared.train
    every = {
        "step": curve_period(train, after.steps),
        "evaluation": evaluation_period(train, after),
    }
    # the old end has a point and an evaluation that the longer training has only where its periods fall there
    records = [one for one in run.records() if one["record"] in every and one["step"] <= facts["step"]]
    folder.append(*(one for one in records if one["step"] < steps or steps % every[one["record"]] == 0))
    folder.close()
    return folder
