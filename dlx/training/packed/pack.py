"""Several trainings side by side: networks of one shape move together, as one stacked network.

Each has its own weights, data order, random numbers, rates, evaluations and checkpoints, and its records are those
that it would give alone, to the precision of a float: a product of stacked matrices may add in another order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import DlxError
from ...lazy import torch
from .. import fallback
from ..batches.step_chunk import StepChunk
from ..fit import Job, Record, walked
from ..learner import Update
from ..supervised import gradients_of, step_of
from .rows import FirstStepError, Rows, held
from .threads import side_by_side

if TYPE_CHECKING:
    from torch import Tensor

Event = Record | DlxError
Events = list[tuple[int, Event]]
MOST = 2**30
"""Bytes that all steps of a stack may keep."""
CHANCE = threading.Lock()
"""torch's own generator is one for all threads."""
HALF = 0.5
"""The part of the rows that still learn below which they are stacked anew."""


def fit_together(jobs: list[Job], lanes: int = 1) -> Generator[tuple[int, Event], None, None]:
    """The records of several jobs, each with its number; an error ends one of them and is given as its last event.

    Of several lanes each has its part of the jobs, and one core. Of one job the records come in their order, of
    different jobs as it happens.
    """
    over, numbered = threading.Event(), list(enumerate(jobs))
    parts = [dict(numbered[i::lanes]) for i in range(min(lanes, len(jobs)))]
    for events in side_by_side([_moved(part, len(jobs), over) for part in parts], over):
        yield from events


def _moved(jobs: dict[int, Job], beside: int, over: threading.Event) -> Generator[Events, None, None]:
    """The records of jobs that move together, in one thread; several at once where none of them has to wait."""
    pack = Pack(jobs, beside, over)
    walks = {number: walked(job) for number, job in jobs.items()}
    ahead: dict[int, StepChunk] = {}
    while walks:
        while waiting := [number for number in walks if number not in ahead]:
            events: Events = []
            for number in waiting:
                events += _advanced(walks, number, ahead)
            if events:
                yield events  # what a job is at a rest or an evaluation, it is until that has been seen to
        if ahead:
            pack.move(ahead)
            if over.is_set():
                return
        ahead = {number: chunk for number, chunk in ahead.items() if chunk.left}


def _advanced(walks: dict[int, Iterator[Record | StepChunk]], number: int, ahead: dict[int, StepChunk]) -> Events:
    """The next records of a job: up to one that is of what the job is right now, or to the stretch that is ahead."""
    events: Events = []
    try:
        while not isinstance(event := next(walks[number]), StepChunk):
            events.append((number, event))
            if event.record != "step":
                return events
        ahead[number] = event
    except StopIteration:
        del walks[number]
    except DlxError as error:
        del walks[number]
        events.append((number, error))
    return events


class Pack:
    """What moves the weights of several jobs: stacked on batches of the usual size, one by one on others.

    Which of the two depends on nothing but the batch, so that a run that goes on later takes the steps it would have.
    """

    def __init__(self, jobs: dict[int, Job], beside: int, over: threading.Event) -> None:
        self.jobs, self.beside, self.over = jobs, beside, over
        """`beside` counts all that move at this time, in this lane and others."""
        self.flattened: dict[int, Update] = {number: gradients_of(job.supervised) for number, job in jobs.items()}
        self.steps: dict[int, Callable[[], Any]] = {number: step_of(job.supervised) for number, job in jobs.items()}
        for job in jobs.values():
            job.learner.way = {"step": "plain", "because": "no batch was of the usual size"}
            if job.progress.own_random is None:
                job.progress.keep_own_random()
        drawn = {number: job.progress.own_random for number, job in jobs.items()}
        self.chance = {number: generator for number, generator in drawn.items() if generator is not None}
        self.rows: Rows | None = None
        self.refused = ""

    @contextmanager
    def chance_of(self, number: int) -> Iterator[None]:
        """torch draws as this job would alone; meanwhile nobody else draws from its generator."""
        with CHANCE:
            torch.set_rng_state(self.chance[number].get_state())
            try:
                yield
            finally:
                self.chance[number].set_state(torch.get_rng_state())

    def move(self, ahead: dict[int, StepChunk]) -> None:
        """Take as many steps of these jobs as the shortest of their stretches has left.

        Jobs that went on from different steps may be at batches of different sizes: those that are not of the usual
        one are moved first, and the others wait for them.
        """
        if self.rows is not None and len(ahead) <= HALF * len(self.rows.numbers):
            self._unstack(list(ahead))  # many have ended: a smaller stack pays
        unusual = {n: one for n, one in ahead.items() if one.index.shape[1] != _usual(self.jobs[n])}
        moved = unusual or ahead
        count = min(chunk.left for chunk in moved.values())
        if not unusual and self.rows is None and not self.refused:
            self._stack({number: chunk.index[chunk.taken] for number, chunk in ahead.items()})
        if not unusual and self.rows is not None and ahead.keys() <= set(self.rows.numbers):
            try:
                self.rows.run(ahead, count, self.over)
            except FirstStepError as error:
                self._refuse(error.why, list(self.jobs))
            else:
                return
        for number, chunk in moved.items():
            chunk.run(partial(self._by_itself, number), count)

    def _by_itself(self, number: int, index: Tensor) -> Tensor:
        with self.chance_of(number):
            loss = self.flattened[number](index)
            self.steps[number]()
        return loss

    def _stack(self, turns: dict[int, Tensor]) -> None:
        """Take down a step of each, as if it had not been taken, and put the networks into rows."""
        try:
            self._take_down(turns)
        except fallback.UntraceableError as error:
            self.refused = str(error)
        except Exception as error:  # noqa: BLE001 - an error of the plain step itself comes again
            self._refuse(error, list(turns))
        packed = {"step": "packed", "because": f"{self.beside} of one shape"}
        for number in turns:
            self.jobs[number].learner.way = {"step": "plain", "because": self.refused} if self.refused else packed

    def _take_down(self, turns: dict[int, Tensor]) -> None:
        from ..replay import tape

        tapes, own, losses = [], [], []
        for number, index in turns.items():
            own.append(index.clone())
            with self.chance_of(number), fallback.Before(self.jobs[number].network):
                calls, loss = tape.record(partial(self.flattened[number], own[-1]))
            tapes.append(calls)
            losses.append(loss)
        jobs = {number: self.jobs[number] for number in turns}
        steps = {number: self.steps[number] for number in turns}
        kept = sum(map(tape.memory, tapes))
        if kept > MOST * len(self.jobs) // self.beside:
            raise fallback.UntraceableError(f"stacked they would keep {kept // 2**20:,} MiB")
        self.rows = Rows(jobs, tapes, own, losses, self.chance, steps)

    def _refuse(self, error: Exception, numbers: list[int]) -> None:
        """Move each network alone from here on, and say what went wrong with the stack."""
        faults = [self.jobs[number].learner.faults for number in numbers]
        self.refused = fallback.note(faults, fallback.PACK, error)
        self._unstack(numbers)
        for number in numbers:
            self.jobs[number].learner.way = {"step": "plain", "because": self.refused}

    def _unstack(self, numbers: list[int]) -> None:
        """Weights have memory of their own again."""
        self.rows = None
        for number in numbers:
            for tensor in held(self.jobs[number]):
                tensor.data = tensor.detach().clone()


def _usual(job: Job) -> int:
    return job.train.per_update(len(job.parts["train"]))
