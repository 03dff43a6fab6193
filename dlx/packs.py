"""Runs of networks of one shape side by side: seeds, members of an ensemble, trials of a search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from . import confusion
from .course import Course, Listener
from .data import Sets
from .errors import DlxError
from .experiment import begin, mirrors_of, read_back, result_of
from .graph import Graph
from .results import Result
from .runs import Run
from .spec import Experiment, Train
from .train import compute, device

Candidate = tuple[Course, Experiment, Graph]
"""A run before its next step, its spec, and the graph of that."""
LARGEST = 100_000_000
"""MACs of a batch, forward, above which the overhead of a step is too small to share (benchmarks/packed.py)."""
WAY = ("device", "threads", "precision", "compile", "detect_anomaly", "deterministic", "channels_last", "augment")


def goes_with(train: Train, graph: Graph, examples: int) -> tuple[Any, ...] | None:
    """What trainings have to have in common to be packed; None for one that is left alone."""
    return form_of(train, graph, examples) if device.packs(train) else None


def noted(train: Train, graph: Graph, sets: Sets) -> Sets:
    """The data with a note where nothing but the device keeps trainings from being packed."""
    if form_of(train, graph, len(sets.train)) is None or device.packs(train):
        return sets
    return replace(sets, notes=(*sets.notes, device.unpacked(train)))


def form_of(train: Train, graph: Graph, examples: int) -> tuple[Any, ...] | None:
    """The same whatever the device."""
    plain = train.precision in {"fp32", "tf32"} and train.optimizer.takes == "gradient" and not train.augment
    alone = train.trace is False or train.compile or train.detect_anomaly or train.max_time
    if not plain or alone:
        return None
    if graph.macs * train.batch(examples) > LARGEST:
        return None
    shapes = tuple((node.kind, tuple(node.plan.shape), tuple(node.plan.weights.items())) for node in graph.nodes)
    sizes = train.per_update(examples), train.batch(examples), train.drop_last
    return (shapes, sizes, train.batch_schedule is not None, *(repr(getattr(train, name)) for name in WAY))


def threads_for(train: Train, graph: Graph, examples: int, count: int) -> int:
    """CPU threads of each of `count` trainings side by side."""
    several = min(count, device.lanes(train)) > 1
    return 1 if several else device.threads_for(train, graph, examples, count)


def record_packing(folders: Sequence[Run], train: Train, graph: Graph, examples: int) -> None:
    """Write `packed` and the threads into the locks of runs that have not begun, so that each can resume alone."""
    threads = threads_for(train, graph, examples, len(folders))
    for folder in folders:
        if not folder.read_json("lock.json"):
            folder.write_json("lock.json", {"packed": True, "threads": threads})


def follow_together(
    many: Sequence[Candidate],
    sets: Sets,
    listen: Listener,
    until: int | None = None,
    here: dict[str, Any] | None = None,
) -> list[Result | DlxError]:
    """Runs on the same data from where they are to their ends, or to the step `until`; what ended one is its own."""
    from .train.packed import fit_together
    from .train.parts import on_device

    trains = [one.train for _, one, _ in many if one.train is not None]
    chosen = device.pick(trains[0].device)
    lanes = min(len(many), device.lanes(trains[0]))
    said = many[0][0].folder.manner().get("threads")
    threads = 1 if lanes > 1 else said or threads_for(trains[0], many[0][2], len(sets.train), len(many))
    ends: dict[int, Result | DlxError] = {}
    with device.threads(threads), compute.settings(trains[0], chosen):
        parts, jobs = on_device(sets, chosen), []
        try:
            for course, one, graph in many:
                course.open()
                job = begin(course, one, graph, sets, listen, threads, until, here, parts)
                job.remember_chance()
                course.start(job, listen)
                course.beside = len(many)
                jobs.append(job)
            with closing(fit_together(jobs, lanes)) as events:
                for number, event in events:
                    course, train = many[number][0], trains[number]
                    if isinstance(event, DlxError):
                        ends[number] = _ended_by(course, event, train.seed)
                        continue
                    course.take(event)
                    if event.record in {"end", "halt"}:
                        with course.to_its_end():
                            confusion.write(course.folder, sets.class_names, jobs[number].tables)
                        ends[number] = result_of(course, train.seed)
        except BaseException as error:
            for number, (course, _, _) in enumerate(many):
                if number not in ends:
                    ends[number] = _ended_by(course, error, trains[number].seed)
            if not isinstance(error, KeyboardInterrupt):
                raise
    return [ends[number] for number in range(len(many))]


def trained(each: Sequence[tuple[Run, Experiment]], graph: Graph, sets: Sets, listen: Listener) -> tuple[Result, ...]:
    """Trainings of one network that differ in their seeds, side by side. What ended one of them is raised at the end.

    Those that have finished are read back.
    """
    results = {number: read_back(folder, one) for number, (folder, one) in enumerate(each)}
    left = [number for number, result in results.items() if result is None]
    folders = [each[number][0] for number in left]
    mirrors = mirrors_of(each[0][1], folders) if folders else []
    many = [(Course(each[number][0]), each[number][1], graph) for number in left]
    ended = follow_together(many, sets, listen) if many else []
    for i, (number, result) in enumerate(zip(left, ended, strict=True)):
        if isinstance(result, DlxError):
            raise result
        results[number] = replace(result, mirror=mirrors[i] if mirrors else None)
    return tuple(result for result in results.values() if result is not None)


def _ended_by(course: Course, error: BaseException, seed: int) -> Result | DlxError:
    """The end of a run before its time: by an error of its own, or by what ends all of them."""
    with suppress(BaseException):  # what is no DlxError is raised where it came from
        try:
            with course.to_its_end():
                raise error
        except DlxError as told:
            return told
    return result_of(course, seed)
