"""A spec from its file to its results: one training, one for each seed, or the members of an ensemble."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import DlxError
from ..runs.folder import Run
from ..spec import Experiment, load
from ..training import device
from ..training.prepared import Prepared, loaded, prepare, ready, span_of
from ..training.schedule_curve import Curve, curve
from . import ensemble, packing
from .lock import locked
from .recorder import Callback, RunRecorder, TrainingStarted, TrainingWarning
from .results import Result, Results
from .resume_checks import check_digest, check_spec, finished
from .session import Session, follow, mirror_of, new_run, read_back

PATIENCE = 10.0
"""Seconds to wait at the end for MLflow; what is still missing then goes on by itself."""


def run(
    experiment: Experiment, runs: Path = Path("runs"), callback: Callback | None = None, like: Run | None = None
) -> Results:
    """Train a spec, once for each of its seeds. SpecError or DlxError before anything starts, RunError on the way.

    It is computed as a run was that it is to be `like`, to the same bits on the same machine.
    MLflow's mirror may still be at work when this returns: `finish_tracking` waits for it.
    """
    prepared, session = prepare(experiment), Session(callback or (lambda _: None))
    train = prepared.train
    if train.ensemble is not None and train.ensemble.members:
        return _members(prepared, new_run(prepared, runs), session)
    seeds = range(train.seed, train.seed + train.seeds)
    each = [prepared] if len(seeds) == 1 else [prepared.with_experiment(experiment.with_seed(seed)) for seed in seeds]
    begun: list[Run] = []
    if like is not None:
        begun = [new_run(one, runs) for one in each]
        for folder in begun:
            folder.write_json("lock.json", like.numeric_settings())
    return Results(_trained(each, runs, session, begun), prepared.graphs)


def _trained(
    each: Sequence[Prepared],
    runs: Path,
    session: Session,
    begun: Sequence[Run] = (),
    gathering: ensemble.Gathering | None = None,
) -> tuple[Result, ...]:
    """Trainings of one network on one data set that differ in their seeds, up to the first that does not finish.

    Of those that have `begun`, in the same order, the finished ones are read back and the others go on. The others
    get new runs, which `gathering` notes where they are members of an ensemble.
    """

    def create(one: Prepared) -> Run:
        folder = new_run(one, runs)
        return folder if gathering is None else gathering.noted(folder)

    packed = len(each) > 1 or bool(begun and begun[0].numeric_settings().get("packed"))
    if packed and packing.packing_key(each[0]) is not None:
        folders = [*begun, *(create(one) for one in each[len(begun) :])]
        packing.record_packing(folders, each[0])
        return packing.trained(list(zip(folders, each, strict=True)), session)
    if packed:
        each = [packing.with_packing_note(one) for one in each]
    results: list[Result] = []
    for i, one in enumerate(each):
        folder = begun[i] if i < len(begun) else create(one)
        results.append(read_back(folder, one) or follow(RunRecorder(folder), one, session))
        if results[-1].status != "finished":
            break
    return tuple(results)


def _members(prepared: Prepared, folder: Run, session: Session) -> Results:
    """An ensemble from where it is to its end, in a run of its own beside those of its members."""
    train, experiment = prepared.train, prepared.experiment
    assert train.ensemble is not None
    gathering = ensemble.Gathering(folder, train.ensemble.combine)
    RunRecorder(folder).open()
    described = device.describe(prepared.device)
    folder.write_json("lock.json", locked(experiment, prepared.sets, train, described, prepared.threads))
    mirror = mirror_of(experiment, folder)
    results: tuple[Result, ...] = ()
    with gathering.to_its_end():
        each = [prepared.with_experiment(member) for member in ensemble.members_of(experiment)]
        results = _trained(each, folder.root, session, ensemble.members_in(folder), gathering)
        gathering.steps = sum(r.steps for r in results)
        gathering.status = results[-1].status
        gathering.metrics = ensemble.mean([r.metrics for r in results])
        if gathering.status == "finished":
            with device.threads(prepared.threads):
                gathering.metrics |= ensemble.judged(prepared, [r.run for r in results])
    own = {k: v for k, v in gathering.metrics.items() if "/ensemble_" in k}
    told = Result(folder, train.seed, gathering.steps, gathering.seconds, own, gathering.status, mirror=mirror)
    return Results(results, prepared.graphs, told, train.ensemble.combine)


def rates(experiment: Experiment) -> dict[str, Curve]:
    """The learning rate of each network over the training of a spec, without training; `network` for one.

    SpecError where it cannot be trained.
    """
    graphs, train = ready(experiment), experiment.train
    assert train is not None
    sets = loaded(experiment)
    span = span_of(experiment, sets)
    trained = train.optimizers or graphs
    return {name: curve(train.of(name), len(sets.train), span=span) for name in trained}


def finish_tracking(experiment: Experiment, results: Results) -> Results:
    """Wait for the mirrors, within a common patience, and say what became of each."""
    until = time.monotonic() + PATIENCE

    def settled(result: Result) -> Result:
        if result.mirror is None:
            return result
        from .. import track

        uri = track.tracking_uri(result.run, experiment.track.uri)
        state = result.mirror.finish(timeout=max(0.0, until - time.monotonic()))
        return replace(result, tracking=state, tracking_uri=uri)

    own = settled(results.together) if results.together is not None else None
    return replace(results, results=tuple(map(settled, results.results)), together=own)


def resume(run: Run, callback: Callback | None = None) -> tuple[Experiment, Results]:
    """Go on with a run that was killed, stopped or failed, from its newest checkpoint, to the same bits.

    Its spec, and its results. DlxError where the run is finished or still running, or its data has changed.
    """
    status = run.status()
    if status == "running":
        raise DlxError(f"{run.key} is still running", hint="Let it run.")
    experiment = load(run.file("spec.yaml"))
    if status == "finished":
        raise finished(run, experiment)
    check_spec(run, experiment)
    prepared, session = prepare(experiment), Session(callback or (lambda _: None))
    check_digest(run, prepared.sets, "Bring the old data back, or train anew.")
    if prepared.train.ensemble is not None and prepared.train.ensemble.members:
        return experiment, _members(prepared, run, session)
    if run.lock().get("packed"):
        if packing.packing_key(prepared) is not None:
            return experiment, Results(packing.trained([(run, prepared)], session), prepared.graphs)
        prepared = packing.with_packing_note(prepared)
    return experiment, Results((follow(RunRecorder(run), prepared, session),), prepared.graphs)


__all__ = [
    "Callback",
    "Result",
    "Results",
    "TrainingStarted",
    "TrainingWarning",
    "finish_tracking",
    "prepare",
    "rates",
    "resume",
    "run",
]
