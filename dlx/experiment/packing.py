"""Runs of networks of one shape, trained together: seeds, members of an ensemble, trials of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from ..data import Dataset
from ..errors import DlxError
from ..graph import Graph, LayerNode, phase_memory
from ..runs.folder import RunFolder
from ..shapes import bytes_text
from ..training import compute, device
from ..training.prepared import Prepared
from ..training.replay.phases import keeps_state
from . import confusion_matrix
from .interrupts import Interrupt, halting
from .recorder import RunRecorder
from .results import Result
from .session import Before, Session, mirrors_of, read_back, result_of, start_job

Candidate = tuple[RunRecorder, Prepared]
"""A run to train, with its prepared spec and data."""
MAX_MACS = 100_000_000
"""MACs of a batch, forward, above which a step's overhead is too small to gain from (benchmarks/packed.py)."""
SHARED_FIELDS = (
    "device",
    "threads",
    "precision",
    "compile",
    "detect_anomaly",
    "deterministic",
    "channels_last",
    "augment",
    "sampling",
)


def packing_key(prepared: Prepared) -> tuple[Any, ...] | None:
    """Return a key that is equal for trainings which can be packed together; None for one that cannot be packed."""
    return _shape_key(prepared) if device.can_pack(prepared.train) else None


def with_packing_note(prepared: Prepared) -> Prepared:
    """Add a note to the data's where only the device, the data or the objective keeps trainings from being packed."""
    alone = _alone(prepared)
    if alone:
        note = f"{alone}: the trainings come one after the other."
    elif _shape_key(prepared) is None or device.can_pack(prepared.train):
        return prepared
    else:
        note = device.packing_note(prepared.train)
    notes = (*prepared.sets.notes, note)
    return replace(prepared, sets=replace(prepared.sets, notes=notes))


def beyond_memory(prepared: Prepared, count: int) -> str:
    """Return why `count` stacked trainings do not fit into memory beside each other; empty where they do."""
    train = prepared.train
    step = phase_memory.of_step(prepared.experiment, prepared.graphs, train.largest(prepared.examples))
    needed, free = int(device.MEMORY_MARGIN * step * count), device.free_memory(prepared.device)
    if needed <= free:
        return ""
    return f"{count:,} trainings at once want {bytes_text(needed)}, and {bytes_text(free)} are free"


def one_by_one(prepared: Prepared, why: str) -> Prepared:
    """Add to the data's notes why trainings come one after the other."""
    notes = (*prepared.sets.notes, f"{why}: the trainings come one after the other.")
    return replace(prepared, sets=replace(prepared.sets, notes=notes))


def _alone(prepared: Prepared) -> str:
    """Return what of the data, the networks or the objective keeps trainings from being packed; else nothing."""
    if getattr(prepared.data, "carry", False):
        return "`carry: true` goes on with the states of one network"
    if prepared.sets.train.streams:
        return "the training set stays on disk, and is read for one training at a time"
    if prepared.is_supervised:
        return ""
    if type(prepared.data).feed is not Dataset.feed:
        return f"the batches of `{prepared.data.kind}` follow from what was before them"
    if prepared.experiment.sources:
        return "networks of other runs are called"
    return keeps_state(prepared.objective)


def _shape_key(prepared: Prepared) -> tuple[Any, ...] | None:
    """Return the key apart from the device: shapes of layers and batches, and fields that trainings must share."""
    train, examples = prepared.train, prepared.examples
    optimizers = [train.of(name).optimizer for name in prepared.graphs]
    by_gradient = all(one.takes == "gradient" for one in optimizers)
    plain = train.precision in {"fp32", "tf32"} and by_gradient and not train.augment
    alone = train.trace is False or train.compile or train.detect_anomaly or train.max_time or train.log_gradients
    if not plain or alone or _alone(prepared):
        return None
    if getattr(prepared.objective, "mixes_inputs", False):
        return None  # what a network draws for itself is that of one network
    if sum(graph.macs for graph in prepared.graphs.values()) * train.batch(examples) > MAX_MACS:
        return None
    shapes = tuple(_shape(graph) for graph in prepared.graphs.values())
    phases = () if prepared.is_supervised else (prepared.objective.kind, *prepared.objective.phases())
    sizes = train.per_update(examples), train.batch(examples), train.drop_last
    fields = (repr(getattr(train, name)) for name in SHARED_FIELDS)
    return (shapes, phases, sizes, train.batch_schedule is not None, *fields)


def _shape(graph: Graph) -> tuple[Any, ...]:
    nodes = (
        (node.kind, tuple(node.plan.shape), tuple(node.plan.weights.items()), node.owner, *_freeze(node))
        for node in graph.nodes
    )
    return (*nodes, *graph.frozen_of_objective.items())


def _freeze(node: LayerNode) -> tuple[Any, ...]:
    return node.frozen, node.frozen_until, node.held, node.pruned != 0


def threads_for(prepared: Prepared, count: int) -> int:
    """Return the CPU threads that compute each of `count` packed trainings."""
    train = prepared.train
    if min(count, device.packing_threads(train)) > 1:
        return 1
    return max(device.threads_for(train, one, prepared.examples, count) for one in prepared.graphs.values())


def record_packing(folders: Sequence[RunFolder], prepared: Prepared) -> None:
    """Write `packed` and the threads into the lock files of new runs, before any starts.

    A run that is killed before its own start is then resumed in the same way, and to the same bits.
    """
    threads = threads_for(prepared, len(folders))
    for folder in folders:
        if not folder.read_json("lock.json"):
            folder.write_json("lock.json", {"packed": True, "threads": threads})


def train_together(
    many: Sequence[Candidate], session: Session, before: Sequence[Before | None] = ()
) -> list[Result | DlxError]:
    """Train runs on the same data from their newest states to their ends, or to the session's halt.

    An error ends its own run, and is in its place of the result. `before` are the weights that stages go on with.
    """
    from ..training.packed.together import fit_together

    first = many[0][1]
    thread_count = min(len(many), device.packing_threads(first.train))
    recorded = many[0][0].folder.numeric_settings().get("threads")
    alone = recorded or threads_for(first, len(many))
    threads = 1 if thread_count > 1 else alone
    ends: dict[int, Result | DlxError] = {}
    interrupt = Interrupt()
    with device.threads(threads), compute.settings(first.train, first.device):
        parts, jobs = first.parts(), []
        try:
            for (recorder, prepared), weights in zip_longest(many, before):
                recorder.write_start()
                job = start_job(recorder, prepared, session, threads, parts, before=weights)
                # before the next job seeds torch's generator: what this one drew so far is its own
                job.progress.capture_rng()
                recorder.attach(job, session.callback)
                recorder.sharing = job.pace.sharing = len(many)
                job.pace.share, recorder.on_forecast = 1 / thread_count, session.on_forecast
                jobs.append(job)
            with halting(lambda: jobs) as interrupt, closing(fit_together(jobs, thread_count)) as events:
                for number, event in events:
                    recorder, prepared = many[number]
                    if isinstance(event, DlxError):
                        ends[number] = _end_with(recorder, event, prepared.train.seed)
                        continue
                    recorder.handle(event)
                    if event.record in {"end", "halt"}:
                        with recorder.ensure_end_record():
                            tables = {} if recorder.goes_on else jobs[number].progress.tables
                            confusion_matrix.write(recorder.folder, prepared.names_of_classes, tables)
                        ends[number] = result_of(recorder, prepared.train.seed)
        except BaseException as error:
            for number, (recorder, prepared) in enumerate(many):
                if number not in ends:
                    ends[number] = _end_with(recorder, error, prepared.train.seed)
            if not isinstance(error, KeyboardInterrupt):
                raise
    if interrupt.pressed:
        _end_interrupted(many, ends)
    return [ends[number] for number in range(len(many))]


def _end_interrupted(many: Sequence[Candidate], ends: dict[int, Result | DlxError]) -> None:
    """End runs between two stages where Ctrl-C came after the last update of the first.

    Raises KeyboardInterrupt where all have ended as if it had not come, so that no other training begins.
    """
    for number, (recorder, prepared) in enumerate(many):
        if recorder.stop_between_stages():
            ends[number] = result_of(recorder, prepared.train.seed)
    if all(isinstance(end, DlxError) or end.status == "finished" for end in ends.values()):
        raise KeyboardInterrupt


def train_seeds(each: Sequence[tuple[RunFolder, Prepared]], session: Session) -> tuple[Result, ...]:
    """Train one network with several seeds together. The error of a run is raised after all have ended.

    Runs that have finished are read from their folders.
    """
    results = {number: read_back(folder, one) for number, (folder, one) in enumerate(each)}
    unfinished = [number for number, result in results.items() if result is None]
    folders = [each[number][0] for number in unfinished]
    mirrors = mirrors_of(each[0][1].experiment, folders) if folders else []
    many = [(RunRecorder(each[number][0]), each[number][1]) for number in unfinished]
    ended = train_together(many, session) if many else []
    for i, (number, result) in enumerate(zip(unfinished, ended, strict=True)):
        if isinstance(result, DlxError):
            raise result
        results[number] = replace(result, mirror=mirrors[i] if mirrors else None)
    return tuple(result for result in results.values() if result is not None)


def _end_with(recorder: RunRecorder, error: BaseException, seed: int) -> Result | DlxError:
    """Write the end record of a run that an error ends, its own or one that ends all runs."""
    with suppress(BaseException):  # what is no DlxError is raised where it came from
        try:
            with recorder.ensure_end_record():
                raise error
        except DlxError as told:
            return told
    return result_of(recorder, seed)
