"""One training as users run it: `fit` with a run folder, checkpoints, MLflow's mirror and progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Sets, input_record
from ..graph import no_effect
from ..lazy import torch
from ..objectives import learned
from ..plugins.announcements import have_run
from ..runs import origin
from ..runs.folder import RunFolder
from ..spec import Experiment
from ..spec.overrides import values_of
from ..training import (
    causality,
    compute,
    device,
    following,
    freezing,
    infeasible,
    initial_weights,
    network_checks,
    network_sources,
    pruning,
    random_generators,
    thread_timing,
)
from ..training.batches import sampling
from ..training.checkpoints import training_state
from ..training.generation import at_stages
from ..training.prepared import Load, Prepared, loaded
from ..utils import imports
from . import confusion_matrix
from .interrupts import Interrupt, halting
from .lock import locked
from .recorder import Callback, OnForecast, RunRecorder, TrainingStarted
from .results import Result
from .resume_checks import check_network, check_source

if TYPE_CHECKING:
    from ..graph import Graph, Graphs
    from ..track import Mirror
    from ..training.batches.data_part import DataPart
    from ..training.fit import Job
    from ..training.initial_weights import LoadedWeights
    from ..training.network_sources import SourceWeights


Before = Callable[[], "LoadedWeights"]
"""Reads the weights that a stage goes on with."""


@dataclass(frozen=True)
class Session:
    """Options of the trainings of a process: who is notified, and where they halt."""

    callback: Callback = lambda _: None
    until: int | None = None
    """The step at which to halt; None for the end."""
    environment: dict[str, Any] | None = None
    """`software_environment()` where it is computed once for many trainings, the trials of a sweep; those are
    mirrored together, if at all."""
    on_forecast: OnForecast = lambda *_: None
    """Called once a training, when its first steps have told how long it will take."""


def new_run(prepared: Prepared, runs: Path, more: Mapping[str, Any] | None = None) -> RunFolder:
    """Create a run folder with the files that are written before a training starts; `more` is beside the plan."""
    folder = RunFolder.create(runs, prepared.experiment.name)
    describe(folder, prepared, more)
    return folder


def describe(folder: RunFolder, prepared: Prepared, more: Mapping[str, Any] | None = None) -> None:
    """Write the resolved spec, the plan, and the record of the inputs by which new ones are prepared."""
    prepared.experiment.keep_plugins(folder.dir)
    folder.write_text("spec.yaml", prepared.experiment.resolved())
    origin.record_overrides(folder, values_of(prepared.experiment.overrides))
    if more:
        folder.write_json("plan.json", prepared.graphs.as_json() | dict(more))
    else:
        folder.write_text("plan.json", prepared.graphs.text)
    if prepared.is_supervised:
        taken = prepared.fields_taken
        record = input_record.of(prepared.data, prepared.sets, prepared.graph.inputs, taken)
        input_record.save(folder.dir, replace(record, targets=prepared.target_statistics))
    elif (answering := prepared.objective.answering()) is not None:
        graph = prepared.graphs[answering[0]]
        input_record.save(folder.dir, input_record.of(prepared.data, prepared.sets, graph.inputs, graph.fields_taken))
    elif prepared.objective.answers_inputs or not prepared.graphs.is_one:
        shapes = {name: one.shape for name, one in prepared.data.facts().inputs.items()}
        input_record.save(folder.dir, input_record.of(prepared.data, prepared.sets, shapes))


def train_run(recorder: RunRecorder, prepared: Prepared, session: Session) -> Result:
    """Train a run from its newest state to its end, or to the step at which the session halts."""
    # before anything else: its process imports what it delivers with while this one trains
    mirror = mirror_of(prepared.experiment, recorder.folder) if session.environment is None else None
    train_part(recorder, prepared, session)
    return result_of(recorder, prepared.train.seed, mirror)


def train_part(recorder: RunRecorder, prepared: Prepared, session: Session, before: Before | None = None) -> None:
    """Train a run, or a stage of it, from its newest state; `before` are the weights that a stage goes on with."""
    train = prepared.train
    recorder.on_forecast = session.on_forecast
    recorder.write_start()
    interrupt = Interrupt()
    with recorder.ensure_end_record():
        recorded = recorder.folder.numeric_settings().get("threads")
        threads = recorded or prepared.threads
        with device.threads(threads), compute.settings(train, prepared.device):
            measure_threads = (
                recorded is None and session.environment is None
            )  # trials of a search are all computed in one way
            job = start_job(recorder, prepared, session, threads, measure_threads=measure_threads, before=before)
            with halting(lambda: [job]) as interrupt:
                recorder.train(job, session.callback)
            if not recorder.goes_on:
                confusion_matrix.write(recorder.folder, prepared.names_of_classes, job.progress.tables)
    if interrupt.pressed and recorder.status == "finished":  # it came after the last update
        recorder.stop_between_stages()
        if not recorder.goes_on:
            raise KeyboardInterrupt  # so that no other training begins


def start_job(
    recorder: RunRecorder,
    prepared: Prepared,
    session: Session,
    threads: int,
    parts: dict[str, DataPart] | None = None,
    *,
    measure_threads: bool = False,
    before: Before | None = None,
) -> Job:
    """Build or resume a job, write its lock file and report the start; the next step is to be taken.

    `parts` are the data on the device where several trainings share it. With `measure_threads` the faster number of
    threads is measured, and stays set.
    """
    train, folder, experiment = prepared.train, recorder.folder, prepared.experiment
    described = device.describe(prepared.device)
    lock = locked(experiment, prepared.sets, train, described, threads, session.environment)
    if prepared.target_statistics:
        lock["data"]["targets"] = dict(prepared.target_statistics)
    if parts is not None or (recorder.stage is not None and folder.lock().get("packed")):
        lock["packed"] = True
    sources = network_sources.load(experiment, folder.dir)
    for name, one in sources.items():
        check_network(folder, name, recorded(recorder, "networks").get(name, {}), one.digest)
    if sources:
        lock["networks"] = {name: one.as_json() for name, one in sources.items()}
    # before the lock is written: a refused source leaves the digest that it was refused for
    initial = [] if training_state.exists(recorder.checkpoints) else _initial(prepared, recorder, before)
    try:
        if experiment.weights is not None:
            lock["weights"] = initial[-1].as_json() if initial else recorded(recorder, "weights")
        if recorder.stage is not None:
            own = {key: lock[key] for key in ("data", "weights", "networks") if key in lock}
            lock["stages"] = {**folder.lock().get("stages", {}), recorder.stage.name: own}
        job = job_of(prepared, recorder.checkpoints, parts, initial, sources)
        job.progress.until = session.until
        recorder.samples = at_stages.made_of(experiment, prepared.objective, prepared.sets)
        causality.check(experiment, job)
        fresh = not initial and not training_state.exists(recorder.checkpoints)
        network_checks.begin(experiment, job, fresh)
        computed = job.learner.compute
        computed.prepare(job.parts["train"], 0 if parts is not None else _macs_of_step(prepared, job))
        late = no_effect.notes(experiment, job.span, prepared.graphs.warnings)
        taken = tuple(one.note for one in initial)
        about_sampling = sampling.notes(train, prepared.objective, prepared.sets)
        about = (*prepared.sets.notes, *prepared.objective.notes(), *infeasible.notes(prepared), *about_sampling)
        about += (*following.notes(prepared.graphs, job.total_steps), *_tracking_notes(experiment, prepared.device))
        notes = (*about, *taken, *late, *computed.notes(), *recorder.resume(job))
        notes += pruning.checked_notes(experiment, prepared.graphs, job.learner.pruning)  # the masks are there now
        if measure_threads and (times := thread_timing.measure(job, prepared.graphs)):
            threads = next(iter(times))
            torch.set_num_threads(threads)
            lock |= {"threads": threads, "milliseconds_by_threads": times}
        lock["compute"] = computed.as_json()
    except BaseException:
        if measure_threads:
            del lock["threads"]  # a run that ends here finds them out when it goes on
        raise
    finally:
        folder.write_json("lock.json", lock)
    step, how = job.progress.step, computed.description()
    stage = recorder.stage.name if recorder.stage is not None else ""
    started = TrainingStarted(
        folder, prepared.graphs, described, threads, job.total_steps, train.seed, step, notes, how, stage
    )
    session.callback(_observable(started, prepared, job))
    return job


def _macs_of_step(prepared: Prepared, job: Job) -> int:
    """Return the MACs of a step of one network with targets, forward; 0 of an objective with phases."""
    return prepared.graph.macs * prepared.train.batch(prepared.examples) if job.learner.by_index else 0


def _observable(started: TrainingStarted, prepared: Prepared, job: Job) -> TrainingStarted:
    """Add by what a view follows the training while nothing is recorded."""
    modes, tokens = prepared.objective.modes(), prepared.tokens_per_example
    rate = job.examples_per_step
    return replace(started, modes=modes, tokens=tokens, steps_taken=lambda: job.progress.step, examples_per_step=rate)


def recorded(recorder: RunRecorder, key: str) -> dict[str, Any]:
    """Return what the lock of a run, or of a stage of it, has of the sources of `weights` or of `networks`."""
    lock: dict[str, Any] = recorder.folder.lock()
    whole = lock if recorder.stage is None else lock.get("stages", {}).get(recorder.stage.name, {})
    return whole.get(key) or {}


def _initial(prepared: Prepared, recorder: RunRecorder, before: Before | None) -> list[LoadedWeights]:
    """Read the weights that a training starts from: those of the stage before, then those of `weights`.

    DlxError where the lock of the run has another digest.
    """
    found = [before()] if before is not None else []
    if prepared.experiment.weights is not None:
        found.append(initial_weights.load(prepared.experiment, prepared.graphs))
        check_source(recorder.folder, recorded(recorder, "weights"), found[-1].digest)
    return found


def job_of(
    prepared: Prepared,
    checkpoints: Path | None = None,
    parts: dict[str, DataPart] | None = None,
    initial: Sequence[LoadedWeights] = (),
    sources: Mapping[str, SourceWeights] | None = None,
) -> Job:
    """Build the job of a spec before its first step.

    `parts` are the data where it is on the device already, `initial` are weights from elsewhere, `sources` those of
    networks that are not trained, else as `network_sources.load` reads them.
    Where `checkpoints` has a state to resume from, weights are not initialized from data.
    """
    from ..network import build_all
    from ..training import data_dependent_init
    from ..training.fit import Job

    train, sets, target = prepared.train, prepared.sets, prepared.device
    # before the networks are built: weights and dropout draw from torch's generator, in the order of the spec
    random_generators.seed_all(train.seed)
    views = prepared.experiment.views()
    if sources is None:
        sources = network_sources.load(prepared.experiment)
    followers = prepared.graphs.followers
    own = {name: graph for name, graph in prepared.graphs.items() if name not in sources and name not in followers}
    inits = {name: views[name].init for name in own}
    networks = {name: network.to(target) for name, network in build_all(own, inits).items()}
    prune = prepared.experiment.prune
    rewind = prune.rewind if prune is not None and initial else None
    if rewind == "redraw":
        networks = {name: network.to(target) for name, network in build_all(own, inits).items()}
    if prepared.graphs.is_one:
        learned.attach(networks["network"], prepared.objective, still_of(prepared.graph))
    networks |= following.networks(prepared.graphs, target)
    parts = parts or prepared.parts()
    first = pruning.values_of(networks) if rewind is not None else {}
    several, still = not prepared.graphs.is_one, still_of(prepared.graphs)
    held = learned.module_of(prepared.objective, target, still) if several else None
    own_modules = networks if held is None else {**networks, learned.SCOPE: held}
    for one in initial:
        one.fill(own_modules if rewind is None else networks)
    trained = pruning.values_of(networks) if rewind is not None else {}
    if rewind is not None:
        initial = ()  # only their magnitudes count
        for name, network in networks.items():
            network.load_state_dict(first[name])
    for name, graph in own.items():
        init, loaded = views[name].init, set[str]().union(*(one.modules(name) for one in initial))
        if data_dependent_init.modules_to_scale(graph, init, loaded) and not (
            checkpoints and training_state.exists(checkpoints)
        ):
            data_dependent_init.initialize(networks[name], graph, init, parts["train"], train.seed, loaded)
    masked = pruning.pruning_of(prepared.experiment, prepared.graphs, networks, trained, train.seed)
    feed = prepared.data.feed(parts["train"], train)
    whole = networks["network"] if prepared.graphs.is_one else own_modules
    elsewhere = network_sources.networks(prepared.graphs, sources, target)
    frozen = freezing.Freezing.of(prepared.graphs, {**elsewhere, **own_modules})
    filled = set[str]().union(*(one.assignment.sources for one in initial))
    follow = following.followings(followers, prepared.graphs, networks, filled)
    return Job(
        whole,
        prepared.objective,
        train,
        parts,
        feed=feed,
        preprocess=sets.preprocess,
        class_names=sets.names_of_classes,
        freezing=frozen,
        sources=elsewhere,
        pruning=masked,
        followings=follow,
    )


def still_of(graphs: Graph | Graphs) -> list[str]:
    """Return the names of the parameters of the objective that never move."""
    return [name for name, until in graphs.frozen_of_objective.items() if until is None]


def result_of(recorder: RunRecorder, seed: int, mirror: Mirror | None = None) -> Result:
    """Return the result of a training that has ended."""
    done = Result(recorder.folder, seed, recorder.step, recorder.seconds, recorder.metrics, recorder.status, mirror)
    return replace(done, outcome=recorder.outcome, notes=recorder.notes)


def read_back(folder: RunFolder, prepared: Prepared) -> Result | None:
    """Return the result of a finished run from its folder; None for one that has not finished."""
    end = folder.end()
    if end is None or end["status"] != "finished":
        return None
    return Result(folder, prepared.train.seed, end["step"], end.get("seconds", 0.0), end["metrics"])


def mirror_of(experiment: Experiment, folder: RunFolder) -> Mirror | None:
    """Start the process that mirrors a run in MLflow and in files of scalars; None where the spec asks for none."""
    found = mirrors_of(experiment, [folder])
    return found[0] if found else None


def loaded_beside_mirror(runs: Path) -> Load:
    """Return a function that loads the data of a spec, and then starts the mirror that its runs will ask.

    The data is loaded when the spec has no mistake, and before torch is imported, or beside that.
    """

    def load(experiment: Experiment) -> Sets:
        asked, first = experiment.track, "torch" not in sys.modules
        # code of a plugin, a kind of data or a step before it, may look for torch
        in_numpy = experiment.data is not None and experiment.data.loads_in_numpy and not have_run()
        with imports.beside("torch") if in_numpy else nullcontext():
            sets = loaded(experiment)
        # runs with plugins or samples of the machine have mirrors of their own
        if asked.mlflow and not asked.system_metrics and not experiment.plugins and first:
            from .. import track

            track.begin(runs, asked.uri)
        return sets

    return load


def mirrors_of(experiment: Experiment, folders: Sequence[RunFolder]) -> list[Mirror]:
    """Start one process that mirrors several runs."""
    asked = experiment.track
    if not asked.mirrors:
        return []
    from .. import track

    name, machine = asked.experiment or experiment.name, asked.system_metrics
    return track.start_all(folders, asked.uri, name, mlflow=asked.mlflow, system_metrics=machine)


def _tracking_notes(experiment: Experiment, target: torch.device) -> tuple[str, ...]:
    """Return what `track` asks for and does not get on a device."""
    if not experiment.track.system_metrics:
        return ()
    from ..track import system_metrics

    return tuple(system_metrics.notes(target.type))


def check_tracking(experiment: Experiment) -> None:
    """Raise SpecError where `track` asks for what this installation lacks, DlxError where the environment misleads
    its mirror.
    """
    if experiment.track.mirrors:
        from .. import track

        track.check(experiment)
        track.check_environment()
