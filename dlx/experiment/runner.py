"""Run a spec to its results: one training, one for each seed, or the members of an ensemble."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data import input_record
from ..data.text.recorded import reading_of_run
from ..errors import DlxError, Problem, SpecError
from ..runs import lookup, origin
from ..runs.folder import RunFolder
from ..spec import Experiment, load
from ..training import device
from ..training.prepared import Prepared, loaded, prepare, ready, span_of
from ..training.schedule_curve import ScheduleCurve, curve
from . import ensemble, packing, stages
from .lock import locked
from .recorder import Callback, OnForecast, RunRecorder, TrainingStarted, TrainingWarning
from .results import Result, Results
from .resume_checks import check_digest, check_spec, finished
from .session import Session, check_tracking, loaded_beside_mirror, mirror_of, new_run, read_back, train_run


def run(
    experiment: Experiment,
    runs: Path = Path("runs"),
    callback: Callback | None = None,
    like: RunFolder | None = None,
    on_forecast: OnForecast = lambda *_: None,
) -> Results:
    """Train a spec, once for each of its seeds. SpecError or DlxError before anything starts, RunError on the way.

    `on_forecast` is called for each training when its first steps have told how long it will take.
    With `like` it is computed as that run was (threads, packed or not), to the same bits on the same machine.
    MLflow's mirror may still be at work when this returns: `finish_tracking` says how it stands.
    """
    experiment = lookup.with_source(experiment, runs)
    check_tracking(experiment)
    session = Session(callback or (lambda _: None), on_forecast=on_forecast)
    if experiment.stages:
        return _run_stages(experiment, runs, session, like)
    prepared = prepare(experiment, load=loaded_beside_mirror(runs))
    train = prepared.train
    if train.ensemble is not None and train.ensemble.members:
        return _train_ensemble(prepared, new_run(prepared, runs), session)
    seeds = range(train.seed, train.seed + train.seeds)
    each = [prepared] if len(seeds) == 1 else [prepared.with_experiment(experiment.with_seed(seed)) for seed in seeds]
    existing: list[RunFolder] = []
    if like is not None:
        existing = [new_run(one, runs) for one in each]
        for folder in existing:
            folder.write_json("lock.json", like.numeric_settings())
    return Results(_train_seeds(each, runs, session, existing), prepared.graphs)


def _run_stages(experiment: Experiment, runs: Path, session: Session, like: RunFolder | None) -> Results:
    """Train a spec with stages, once for each of its seeds."""
    whole = stages.prepared_stages(experiment, load=loaded_beside_mirror(runs))
    train = whole.last.train
    if train.ensemble is not None:
        message = "an ensemble of a spec with `stages` comes later"
        hint = "Train several seeds, and answer together: `dlx evaluate RUN RUN --combine average`."
        raise SpecError(Problem(message, hint, experiment.place("train", "ensemble"), "train.ensemble"))
    seeds = range(train.seed, train.seed + train.seeds)
    each = [whole if len(seeds) == 1 else whole.with_experiment(experiment.with_seed(seed)) for seed in seeds]
    plans = whole.plans_as_json(experiment)
    folders = [new_run(one.last, runs, plans) for one in each]
    packed = len(each) > 1
    if packed:
        origin.record_seeds(folders, len(each))
    if like is not None:
        for folder in folders:
            folder.write_json("lock.json", like.numeric_settings())
        packed = packed or bool(like.numeric_settings().get("packed"))
    packed = packed and packing.packing_key(each[0].each[0]) is not None
    # one that is trained as another was goes that one's way, whatever is free now
    if packed and like is None and (why := _beyond_memory(each[0], len(each))):
        packed = False
        each = [replace(one, each=(packing.one_by_one(one.each[0], why), *one.each[1:])) for one in each]
    if packed:
        packing.record_packing(folders, each[0].each[0])
    trained = stages.train(list(zip(folders, each, strict=True)), session, packed=packed)
    return Results(trained, whole.graphs)


def _beyond_memory(whole: stages.PreparedStages, count: int) -> str:
    """Return why `count` trainings of one of the stages do not fit into memory at once; empty where all do."""
    return next(filter(None, (packing.beyond_memory(one, count) for one in whole.each)), "")


def _train_seeds(
    each: Sequence[Prepared],
    runs: Path,
    session: Session,
    existing: Sequence[RunFolder] = (),
    ensemble_run: ensemble.EnsembleRun | None = None,
) -> tuple[Result, ...]:
    """Trainings of one network on one data set that differ in their seeds, up to the first that does not finish.

    Of those that have `begun`, in the same order, the finished ones are read back and the others go on. The others
    get new runs, which `gathering` notes where they are members of an ensemble.
    """

    begun = list(existing)

    def record_group() -> None:
        if ensemble_run is None and len(each) > 1 and begun:
            origin.record_seeds(begun, len(each))

    def create(one: Prepared) -> RunFolder:
        begun.append(new_run(one, runs))
        if ensemble_run is not None:
            ensemble_run.noted(begun[-1])
        return begun[-1]

    recorded = existing[0].numeric_settings() if existing else {}
    packed = bool(recorded.get("packed")) if recorded else len(each) > 1
    key = packing.packing_key(each[0]) if packed else None
    # what has begun goes on as it was, whatever is free now
    if key is not None and not recorded and (why := packing.beyond_memory(each[0], len(each))):
        key, packed, each = None, False, [packing.one_by_one(one, why) for one in each]
    if key is not None:
        folders = [*existing, *(create(one) for one in each[len(existing) :])]
        packing.record_packing(folders, each[0])
        record_group()
        return packing.train_seeds(list(zip(folders, each, strict=True)), session)
    if packed:
        each = [packing.with_packing_note(one) for one in each]
    results: list[Result] = []
    for i, one in enumerate(each):
        folder = existing[i] if i < len(existing) else create(one)
        record_group()
        results.append(read_back(folder, one) or train_run(RunRecorder(folder), one, session))
        if results[-1].status != "finished":
            break
    return tuple(results)


def _train_ensemble(prepared: Prepared, folder: RunFolder, session: Session) -> Results:
    """Train an ensemble from where it is to its end: members in runs of their own, the whole in `folder`."""
    train, experiment = prepared.train, prepared.experiment
    assert train.ensemble is not None
    ensemble_run = ensemble.EnsembleRun(folder, train.ensemble.combine)
    RunRecorder(folder).write_start()
    described = device.describe(prepared.device)
    folder.write_json("lock.json", locked(experiment, prepared.sets, train, described, prepared.threads))
    mirror = mirror_of(experiment, folder)
    results: tuple[Result, ...] = ()
    with ensemble_run.ensure_end_record():
        each = [prepared.with_experiment(member) for member in ensemble.members_of(experiment)]
        results = _train_seeds(each, folder.root, session, ensemble.members_in(folder), ensemble_run)
        ensemble_run.steps = sum(r.steps for r in results)
        ensemble_run.status = results[-1].status
        ensemble_run.metrics = ensemble.mean([r.metrics for r in results])
        if ensemble_run.status == "finished":
            with device.threads(prepared.threads):
                ensemble_run.metrics |= ensemble.evaluate_members(prepared, [r.run for r in results])
    own = {k: v for k, v in ensemble_run.metrics.items() if "/ensemble_" in k}
    ensemble_result = Result(
        folder, train.seed, ensemble_run.steps, ensemble_run.seconds, own, ensemble_run.status, mirror=mirror
    )
    return Results(results, prepared.graphs, ensemble_result, train.ensemble.combine)


def rates(experiment: Experiment) -> dict[str, ScheduleCurve]:
    """Return the learning rate of each network over a training, without training; `network` is the name of one.

    SpecError where it cannot be trained.
    """
    if experiment.stages:
        stages.ready_stages(experiment)
        each = [(stage.name, rates(stage.experiment)) for stage in experiment.stages]
        return {name if len(found) == 1 else f"{name}/{n}": one for name, found in each for n, one in found.items()}
    graphs, train = ready(experiment), experiment.train
    assert train is not None
    sets = loaded(experiment)
    span = span_of(experiment, sets)
    trained = train.optimizers or graphs
    return {name: curve(train.of(name), len(sets.train), span=span) for name in trained}


def finish_tracking(experiment: Experiment, results: Results) -> Results:
    """Add to each result how its mirror stands; only files are waited for, `track.FILES_TIMEOUT` seconds in all."""
    from .. import track

    until = time.monotonic() + track.FILES_TIMEOUT

    def finished_result(result: Result) -> Result:
        if result.mirror is None:
            return result
        uri = track.tracking_uri(result.run, experiment.track.uri) if result.mirror.mlflow else ""
        return replace(result, tracking=result.mirror.at_end(until), tracking_uri=uri)

    own = finished_result(results.together) if results.together is not None else None
    return replace(results, results=tuple(map(finished_result, results.results)), together=own)


def resume(run: RunFolder, callback: Callback | None = None) -> tuple[Experiment, Results]:
    """Resume a run that was killed, stopped or failed, from its newest checkpoint, to the same bits.

    Return its spec and its results. DlxError where the run is finished or still running, or its data has changed.
    """
    with reading_of_run(input_record.reading_of(run.dir)):
        return _resume(run, callback)


def _resume(run: RunFolder, callback: Callback | None) -> tuple[Experiment, Results]:
    status = run.status()
    if status == "running":
        raise DlxError(f"{run.key} is still running", hint="Let it run.")
    experiment = load(run.file("spec.yaml"))
    if status == "finished":
        raise finished(run, experiment)
    check_spec(run, experiment)
    check_tracking(experiment)
    if experiment.stages:
        whole, packed = stages.prepared_stages(experiment, sources=False), bool(run.lock().get("packed"))
        trained = stages.train([(run, whole)], Session(callback or (lambda _: None)), packed=packed)
        return experiment, Results(trained, whole.graphs)
    prepared, session = prepare(experiment, sources=False), Session(callback or (lambda _: None))
    check_digest(run, prepared.sets, "Bring the old data back, or train anew.")
    if prepared.train.ensemble is not None and prepared.train.ensemble.members:
        return experiment, _train_ensemble(prepared, run, session)
    if run.lock().get("packed"):
        if packing.packing_key(prepared) is not None:
            return experiment, Results(packing.train_seeds([(run, prepared)], session), prepared.graphs)
        prepared = packing.with_packing_note(prepared)
    return experiment, Results((train_run(RunRecorder(run), prepared, session),), prepared.graphs)


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
