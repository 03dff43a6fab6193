"""Several trainings at once: networks of one shape take their steps together, as one stacked network.

Each has its own weights, order of the data, random numbers, learning rates, evaluations and checkpoints, and its
records are those of a training alone, to the precision of a float: a product of stacked matrices may add in another
order.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

from ...errors import DlxError
from ..batches.step_chunk import StepChunk
from ..fit import Job, Record, training_events
from ..phased import Phased
from .pack import Pack
from .phased_pack import PhasedPack
from .threads import run_in_threads

JobEvent = Record | DlxError
JobEvents = list[tuple[int, JobEvent]]


def fit_together(jobs: list[Job], threads: int = 1) -> Generator[tuple[int, JobEvent], None, None]:
    """Yield the records of several jobs, each with the number of its job; an error ends one job, as its last event.

    The jobs are divided among `threads`, each of which computes on one core. Records of one job come in their order,
    those of different jobs as they arise.
    """
    stopped, numbered = threading.Event(), list(enumerate(jobs))
    parts = [dict(numbered[i::threads]) for i in range(min(threads, len(jobs)))]
    for events in run_in_threads([_job_events(part, len(jobs), stopped) for part in parts], stopped):
        yield from events


def _job_events(jobs: dict[int, Job], total: int, stopped: threading.Event) -> Generator[JobEvents, None, None]:
    """Yield the records of jobs that one thread steps together, as many at once as there are."""
    pack = _pack_of(jobs, total, stopped)
    iterators = {number: training_events(job) for number, job in jobs.items()}
    pending: dict[int, StepChunk] = {}
    while iterators:
        while waiting := [number for number in iterators if number not in pending]:
            events: JobEvents = []
            for number in waiting:
                events += _advance(iterators, number, pending)
            if events:
                # no job steps until the caller is back: what it saves or evaluates at this record is of this step
                yield events
        if pending:
            pack.run_chunks(pending)
            if stopped.is_set():
                return
        pending = {number: chunk for number, chunk in pending.items() if chunk.remaining}


def _pack_of(jobs: dict[int, Job], total: int, stopped: threading.Event) -> Pack:
    return (PhasedPack if isinstance(next(iter(jobs.values())).learner, Phased) else Pack)(jobs, total, stopped)


def _advance(
    iterators: dict[int, Iterator[Record | StepChunk]], number: int, pending: dict[int, StepChunk]
) -> JobEvents:
    """Return the next records of a job, up to one about its present state, or up to its next chunk of steps."""
    events: JobEvents = []
    try:
        while not isinstance(event := next(iterators[number]), StepChunk):
            events.append((number, event))
            if event.record != "step":
                return events
        pending[number] = event
    except StopIteration:
        del iterators[number]
    except DlxError as error:
        del iterators[number]
        events.append((number, error))
    return events
