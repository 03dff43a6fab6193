"""A whole experiment: run folder, seeds, checkpoints, tracker and progress as plain loops around `fit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import confusion, ensemble
from .course import Begun, Course, Listener, Trouble
from .data import Sets, kept
from .errors import DlxError, Problem, SpecError
from .graph import Graph, trace
from .lazy import torch
from .lock import locked
from .results import Result, Results
from .resumable import check_digest, check_spec, finished
from .runs import Run
from .spec import Experiment, load, missing_sections, objective_of
from .train import compute, cores, device, groups, single, state, stopping
from .train.augmented import LOOKED_AT, check_colours
from .train.curve import Curve, curve

if TYPE_CHECKING:
    from .track import Mirror
    from .train.fit import Job
    from .train.parts import Part


def run(
    experiment: Experiment, runs: Path = Path("runs"), listen: Listener | None = None, like: Run | None = None
) -> Results:
    """Train a spec, once for each of its seeds. SpecError or DlxError before anything starts, RunError on the way.

    It is computed as a run was that it is to be `like`, to the same bits on the same machine.
    MLflow's mirror may still be at work when this returns: `settle` waits for it.
    """
    graph, sets = prepared(experiment)
    assert experiment.train is not None
    if experiment.train.ensemble is not None and experiment.train.ensemble.members:
        return _members(experiment, graph, sets, _folder(experiment, graph, sets, runs), listen or (lambda _: None))
    seeds = range(experiment.train.seed, experiment.train.seed + experiment.train.seeds)
    each = [experiment] if len(seeds) == 1 else [experiment.with_seed(seed) for seed in seeds]

    def create(one: Experiment) -> Run:
        return _folder(one, graph, sets, runs)

    begun = []
    if like is not None:
        begun = [create(one) for one in each]
        for folder in begun:
            folder.write_json("lock.json", like.manner())
    return Results(_trained(each, graph, sets, create, listen or (lambda _: None), begun), graph)


def _trained(
    each: Sequence[Experiment],
    graph: Graph,
    sets: Sets,
    create: Callable[[Experiment], Run],
    listen: Listener,
    begun: Sequence[Run] = (),
) -> tuple[Result, ...]:
    """Trainings of one network on one data set that differ in their seeds, up to the first that does not finish.

    Of those that have `begun`, in the same order, the finished ones are read back and the others go on. `create`
    makes the run of one that has not.
    """
    from . import packs

    packed = len(each) > 1 or bool(begun and begun[0].manner().get("packed"))
    if packed and each[0].train is not None and packs.goes_with(each[0].train, graph, len(sets.train)):
        folders = [*begun, *(create(one) for one in each[len(begun) :])]
        packs.record_packing(folders, each[0].train, graph, len(sets.train))
        return packs.trained(list(zip(folders, each, strict=True)), graph, sets, listen)
    if packed and each[0].train is not None:
        sets = packs.noted(each[0].train, graph, sets)
    results: list[Result] = []
    for i, one in enumerate(each):
        folder = begun[i] if i < len(begun) else create(one)
        results.append(read_back(folder, one) or follow(Course(folder), one, graph, sets, listen))
        if results[-1].status != "finished":
            break
    return tuple(results)


def read_back(folder: Run, experiment: Experiment) -> Result | None:
    """The result of a run that has finished."""
    end = folder.end()
    if end is None or end["status"] != "finished" or experiment.train is None:
        return None
    return Result(folder, experiment.train.seed, end["step"], end.get("seconds", 0.0), end["metrics"])


def _members(experiment: Experiment, graph: Graph, sets: Sets, folder: Run, listen: Listener) -> Results:
    """An ensemble from where it is to its end, in a run of its own beside those of its members."""
    train = experiment.train
    assert train is not None
    assert train.ensemble is not None
    gathering = ensemble.Gathering(folder, train.ensemble.combine)
    Course(folder).open()
    chosen = device.pick(train.device)
    threads = device.threads_for(train, graph, len(sets.train))
    folder.write_json("lock.json", locked(experiment, sets, train, device.describe(chosen), threads))
    mirror = _mirror(experiment, folder)
    results: tuple[Result, ...] = ()
    with gathering.to_its_end():
        each = ensemble.members_of(experiment)
        create = gathering.noting(lambda one: _folder(one, graph, sets, folder.root))
        results = _trained(each, graph, sets, create, listen, ensemble.members_in(folder))
        gathering.steps = sum(r.steps for r in results)
        gathering.status = results[-1].status
        gathering.metrics = ensemble.mean([r.metrics for r in results])
        if gathering.status == "finished":
            with device.threads(threads):
                gathering.metrics |= ensemble.judged(experiment, graph, sets, [r.run for r in results], chosen)
    own = {k: v for k, v in gathering.metrics.items() if "/ensemble_" in k}
    told = Result(folder, train.seed, gathering.steps, gathering.seconds, own, gathering.status, mirror=mirror)
    return Results(results, graph, told, train.ensemble.combine)


def prepared(
    experiment: Experiment, graph: Graph | None = None, load: Callable[[Experiment], Sets] | None = None
) -> tuple[Graph, Sets]:
    """The graph and the data of a spec that can be trained here. SpecError or DlxError where it cannot.

    `graph` is given where it is known; `load` is for data that may have been loaded before.
    """
    device.calm_threads()
    graph = ready(experiment, graph)
    assert experiment.train is not None
    device.check_memory(graph, experiment.train, device.free_memory(), experiment.place("network"))
    sets = (load or loaded)(experiment)
    if unheld := stopping.unheld(experiment, len(sets.valid) if sets.valid is not None else 0):
        raise SpecError(*unheld)
    ensemble.check_cycles(experiment, len(sets.train))
    single.check_norms(experiment, graph, sets, device.pick(experiment.train.device))
    check_colours(experiment, sets)
    _check_targets(experiment, sets)
    compute.check(experiment.train, device.pick(experiment.train.device), experiment.place("train", "compile"))
    free = device.free_memory(device.pick(experiment.train.device))
    device.check_memory(graph, experiment.train, free, experiment.place("network"))
    device.check_batch(graph, experiment.train, len(sets.train), free, experiment.place("train", "batch_size"))
    return graph, sets


def _check_targets(experiment: Experiment, sets: Sets) -> None:
    """SpecError where targets that are values are none that the loss is for; of a part that streams its beginning."""
    objective = objective_of(experiment)
    if objective.measures != "values":
        return
    for name, part in (("train", sets.train), ("valid", sets.valid), ("test", sets.test)):
        if part is None or not len(part):
            continue
        if told := objective.loss.misfit(part.y[:LOOKED_AT] if part.streams else part.y):
            message = f"the loss {told} in the part `{name}`"
            place = experiment.place("objective", objective.kind, "loss")
            raise SpecError(
                Problem(message, "Bring the targets there, or use another loss.", place, "objective.loss")
            )


def rates(experiment: Experiment) -> Curve:
    """The learning rate over the training of a spec, without training. SpecError where it cannot be trained."""
    ready(experiment)
    assert experiment.train is not None
    return curve(experiment.train, len(loaded(experiment).train))


def settle(experiment: Experiment, results: Results) -> Results:
    """Wait for the mirrors, within a common patience, and say what became of each."""
    until = time.monotonic() + PATIENCE

    def settled(result: Result) -> Result:
        if result.mirror is None:
            return result
        from . import track

        uri = track.tracking_uri(result.run, experiment.track.uri)
        state = result.mirror.finish(timeout=max(0.0, until - time.monotonic()))
        return replace(result, tracking=state, tracking_uri=uri)

    own = settled(results.together) if results.together is not None else None
    return replace(results, results=tuple(map(settled, results.results)), together=own)


def ready(experiment: Experiment, graph: Graph | None = None) -> Graph:
    """The graph of a spec that can be trained; SpecError with all that stands against it."""
    missing = missing_sections(experiment, "data", "train")
    try:
        graph = graph or trace(experiment)
    except SpecError as error:
        raise SpecError(*missing, *error.problems) from error
    if len(graph.inputs) > 1:
        names = ", ".join(f"`{n}`" for n in graph.inputs)
        hint = "Train a network with one input; this one can be inspected."
        mark = experiment.place("network", "inputs")
        missing.append(
            Problem(f"the data fills one input, and the network has {names}", hint, mark, "network.inputs")
        )
    asked = [name for name in graph.outputs if experiment.data is None or name not in objective_of(experiment).aux]
    if len(asked) > 1:
        names = ", ".join(f"`{n}`" for n in asked)
        mark = experiment.place("network", "outputs")
        message = f"the objective takes one output, and the network has {names}"
        hint = "Keep the one to train, `outputs: NAME`, or weigh the others under `aux` of the objective."
        missing.append(Problem(message, hint, mark, "network.outputs"))
    if not graph.trainable:
        why = "all of its weights are frozen" if graph.params else "no layer of it has weights"
        missing.append(Problem(f"there is nothing to train: {why}", "", experiment.place("network"), "network"))
    if experiment.train is not None:
        missing += groups.problems(experiment, graph) + stopping.problems(experiment) + ensemble.problems(experiment)
    if missing:
        raise SpecError(*missing)
    return graph


def loaded(experiment: Experiment) -> Sets:
    """The data of a spec. SpecError with its place where it cannot be had."""
    assert experiment.data is not None
    try:
        return experiment.data.load()
    except DlxError as error:
        mark = experiment.place("data", experiment.data.kind)
        raise SpecError(
            *(Problem(p.message, p.hint, p.mark or mark, p.path or "data") for p in error.problems)
        ) from error


def resume(run: Run, listen: Listener | None = None) -> tuple[Experiment, Results]:
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
    graph, sets = prepared(experiment)
    check_digest(run, sets, "Bring the old data back, or train anew.")
    heard = listen or (lambda _: None)
    assert experiment.train is not None
    if experiment.train.ensemble is not None and experiment.train.ensemble.members:
        return experiment, _members(experiment, graph, sets, run, heard)
    if run.lock().get("packed"):
        from . import packs

        if packs.goes_with(experiment.train, graph, len(sets.train)) is not None:
            return experiment, Results(packs.trained([(run, experiment)], graph, sets, heard), graph)
        sets = packs.noted(experiment.train, graph, sets)
    return experiment, Results((follow(Course(run), experiment, graph, sets, heard),), graph)


def _folder(experiment: Experiment, graph: Graph, sets: Sets, runs: Path) -> Run:
    """A new run with what stands in it before it starts."""
    folder = Run.create(runs, experiment.name)
    furnish(folder, experiment, graph, sets)
    return folder


def furnish(folder: Run, experiment: Experiment, graph: Graph, sets: Sets) -> None:
    """Put down its spec, its plan, and what is to be known of its data where that is not at hand."""
    assert experiment.data is not None
    folder.write_text("spec.yaml", experiment.resolved())
    folder.write_json("plan.json", graph.as_json())
    kept.save(folder.dir, kept.of(experiment.data, sets, graph.inputs))


def follow(
    course: Course,
    experiment: Experiment,
    graph: Graph,
    sets: Sets,
    listen: Listener,
    until: int | None = None,
    here: dict[str, Any] | None = None,
) -> Result:
    """A run from where it is to its end, or to the step `until`.

    `here` is what `surroundings` says, for one of many trainings that are mirrored together if at all.
    """
    train = experiment.train
    assert train is not None
    course.open()
    mirror = _mirror(experiment, course.folder) if here is None else None  # it starts up while torch is imported here
    with course.to_its_end():
        chosen = device.pick(train.device)
        said = course.folder.manner().get("threads")
        threads = said or device.threads_for(train, graph, len(sets.train))
        with device.threads(threads), compute.settings(train, chosen):
            is_open = said is None and here is None  # trials of a search are all computed in one way
            job = begin(course, experiment, graph, sets, listen, threads, until, here, is_open=is_open)
            course.follow(job, listen)
            confusion.write(course.folder, sets.class_names, job.tables)
    return result_of(course, train.seed, mirror)


def begin(
    course: Course,
    experiment: Experiment,
    graph: Graph,
    sets: Sets,
    listen: Listener,
    threads: int,
    until: int | None = None,
    here: dict[str, Any] | None = None,
    parts: dict[str, Part] | None = None,
    *,
    is_open: bool = False,
) -> Job:
    """A training before its next step, with what it depends on written down and told.

    `parts` are those of the data for one of several that move together, which share them. Where the number of threads
    is open, the quicker one is found out and stays set.
    """
    train, folder = experiment.train, course.folder
    assert train is not None
    chosen = device.pick(train.device)
    lock = locked(experiment, sets, train, device.describe(chosen), threads, here)
    if parts is not None:
        lock["packed"] = True
    if here is None:  # else it is written once, for each of many
        known = {key: value for key, value in lock.items() if not (is_open and key == "threads")}
        folder.write_json("lock.json", known)  # a run that is killed here finds the threads out when it goes on
    job = job_of(experiment, graph, sets, chosen, course.checkpoints, parts)
    job.until = until
    job.compute.prepare()
    notes = (*sets.notes, *job.compute.notes(), *course.take_up(job))
    if is_open and (times := cores.measured(job, graph)):
        threads = next(iter(times))
        torch.set_num_threads(threads)
        lock |= {"threads": threads, "milliseconds_by_threads": times}
    folder.write_json("lock.json", lock | {"compute": job.compute.as_json()})
    described, how = device.describe(chosen), job.compute.words()
    listen(Begun(folder, graph, described, threads, job.total_steps, train.seed, job.step, notes, how))
    return job


def result_of(course: Course, seed: int, mirror: Mirror | None = None) -> Result:
    """What became of a training that has ended."""
    done = Result(course.folder, seed, course.step, course.seconds, course.metrics, course.status, mirror)
    return replace(done, outcome=course.outcome, notes=course.notes)


def job_of(
    experiment: Experiment,
    graph: Graph,
    sets: Sets,
    chosen: torch.device,
    checkpoints: Path | None = None,
    parts: dict[str, Part] | None = None,
) -> Job:
    """A training of a spec before its first step; weights are not fitted to data where `checkpoints` has better.

    `parts` are those of the data where they are on the device already.
    """
    from .network import build
    from .train import by_data
    from .train.fit import Job
    from .train.parts import on_device

    assert experiment.train is not None
    state.seed_all(experiment.train.seed)
    network, parts = build(graph, experiment.init).to(chosen), parts or on_device(sets, chosen)
    if by_data.wants(graph, experiment.init) and not (checkpoints and state.is_there(checkpoints)):
        by_data.settle(network, graph, experiment.init, parts["train"], experiment.train.seed)
    return Job(
        network,
        objective_of(experiment),
        experiment.train,
        parts,
        preprocess=sets.preprocess,
        class_names=sets.class_names,
    )


def _mirror(experiment: Experiment, folder: Run) -> Mirror | None:
    if not experiment.track.mlflow:
        return None
    from . import track

    return track.start(folder, experiment.track.uri, experiment.track.experiment or experiment.name)


def mirrors_of(experiment: Experiment, folders: Sequence[Run]) -> list[Mirror]:
    """One process that mirrors several runs."""
    if not experiment.track.mlflow:
        return []
    from . import track

    return track.start_all(folders, experiment.track.uri, experiment.track.experiment or experiment.name)


PATIENCE = 10.0
"""Seconds to wait at the end for MLflow; what is still missing then goes on by itself."""


__all__ = ["Begun", "Listener", "Result", "Results", "Trouble", "objective_of", "prepared", "run", "settle"]
