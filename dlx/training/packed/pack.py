"""Steps of several jobs as rows of one stacked network, or of each alone where that cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from .. import fallback
from ..batches.step_chunk import StepChunk
from ..fit import Job
from ..learner import Update
from ..supervised import gradients_of, step_of
from .stacked_jobs import FirstStepError, StackedJobs, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 2**30
"""Memory that the steps of all packed trainings may keep between steps."""
RNG_LOCK = threading.Lock()
"""torch's default generator is one for all threads: who sets its state holds this until the state is read back."""
FEW_STEPS = 4
"""Steps of a whole training that are taken one by one: to record and stack one takes as long as twenty of them."""
RESTACK_BELOW = 0.5
"""Share of the rows that are still trained at which the rest is stacked anew: ended rows are computed too."""


class Pack:
    """Steps of several jobs: stacked on batches of the usual size, one job after the other on other batches.

    A job of few steps takes them by itself, too. That choice depends on the job and the size of the batch alone, and
    not on what the other jobs are at, so that a resumed run takes each step as it would have been taken.
    """

    def __init__(self, jobs: dict[int, Job], total: int, stopped: threading.Event) -> None:
        """`total` counts the jobs of all threads."""
        self.jobs, self.total, self.stopped = jobs, total, stopped
        self.gradients: dict[int, Update] = {}
        self.steps: dict[int, Callable[[], Any]] = {}
        self.periods: dict[int, int] = {}
        """Of each job, how many of its freezes had ended when its functions were built."""
        for number, job in jobs.items():
            self._build(number)
            why = f"at most {FEW_STEPS} steps" if self._is_short(number) else "no batch was of the usual size"
            job.learner.way = {"step": "plain", "because": why}
            if job.progress.rng is None:
                job.progress.capture_rng()
        generators = {number: job.progress.rng for number, job in jobs.items()}
        self.rngs = {number: generator for number, generator in generators.items() if generator is not None}
        self.stacked: StackedJobs | None = None
        self.refused = ""

    def _build(self, number: int) -> None:
        """Build the functions of a job for its present step."""
        job = self.jobs[number]
        job.learner.freezing.apply(job.progress.step)
        self.periods[number] = job.learner.freezing.period
        self.gradients[number], self.steps[number] = gradients_of(job.supervised), step_of(job.supervised)

    @contextmanager
    def own_rng(self, number: int) -> Iterator[None]:
        """Let torch draw from this job's generator within the context."""
        with RNG_LOCK:
            torch.set_rng_state(self.rngs[number].get_state())
            try:
                yield
            finally:
                self.rngs[number].set_state(torch.get_rng_state())

    def run_chunks(self, pending: dict[int, StepChunk]) -> None:
        """Take as many steps of these jobs as the shortest of their chunks has left.

        Resumed jobs may be at batches of another size, the last one of an epoch: those take theirs first, and the
        others wait.
        """
        pending = self._in_one_period(pending)
        if self.stacked is not None and len(pending) <= RESTACK_BELOW * len(self.stacked.numbers):
            self._unstack(list(pending))
        alone = {n: one for n, one in pending.items() if self._is_short(n) or _is_unusual(self.jobs[n], one)}
        moved = alone or pending
        count = min(chunk.remaining for chunk in moved.values())
        if not alone and self.stacked is None and not self.refused:
            self._stack({number: chunk.index[chunk.done] for number, chunk in pending.items()})
        if not alone and self.stacked is not None and pending.keys() <= set(self.stacked.numbers):
            try:
                self.stacked.run(pending, count, self.stopped)
            except FirstStepError as error:
                self._refuse(error.why, list(self.jobs))
            else:
                return
        for number, chunk in moved.items():
            chunk.run(partial(self._plain_step, number), count)

    def _is_short(self, number: int) -> bool:
        """Whether a job has too few steps in all to be stacked."""
        return self.jobs[number].total_steps <= FEW_STEPS

    def _in_one_period(self, pending: dict[int, StepChunk]) -> dict[int, StepChunk]:
        """Return those jobs of which the fewest freezes have ended: the others wait, as they step other weights."""
        ended = []
        for number, job in ((number, self.jobs[number]) for number in pending):
            job.learner.freezing.apply(job.progress.step)
            ended += [number] if job.learner.freezing.period != self.periods[number] else []
        if ended and self.stacked is not None:
            self._unstack(list(self.jobs))
        for number in ended:
            self._build(number)
        first = min(self.periods[number] for number in pending)
        return {number: chunk for number, chunk in pending.items() if self.periods[number] == first}

    def _plain_step(self, number: int, index: Tensor) -> Tensor:
        with self.own_rng(number):
            loss = self.gradients[number](index)
            self.steps[number]()
        return loss

    def _stack(self, first_indices: dict[int, Tensor]) -> None:
        """Record a step of each job, without effect on the training, and stack the networks."""
        try:
            self._record(first_indices)
        except fallback.UntraceableError as error:
            self.refused = str(error)
        except Exception as error:  # noqa: BLE001 - an error of the plain step itself comes again
            self._refuse(error, list(first_indices))
        packed = {"step": "packed", "because": f"{self.total} of one shape"}
        for number in first_indices:
            self.jobs[number].learner.way = {"step": "plain", "because": self.refused} if self.refused else packed

    def _record(self, first_indices: dict[int, Tensor]) -> None:
        from ..replay import tape

        tapes, inputs, losses = [], [], []
        for number, index in first_indices.items():
            inputs.append(index.clone())  # the recording reads its indices from this memory in every later step
            with self.own_rng(number), fallback.Rollback(self.jobs[number].network):
                calls, loss = tape.record(partial(self.gradients[number], inputs[-1]))
            tapes.append(calls)
            losses.append(loss)
        jobs = {number: self.jobs[number] for number in first_indices}
        steps = {number: self.steps[number] for number in first_indices}
        size = tape.memory(tapes[0]) * len(tapes)
        if size > MAX_BYTES * len(self.jobs) // self.total:
            raise fallback.UntraceableError(f"stacked they would keep {size // 2**20:,} MiB")
        self.stacked = StackedJobs(jobs, tapes, inputs, losses, self.rngs, steps)

    def _refuse(self, error: Exception, numbers: list[int]) -> None:
        """Step each network alone from here on, and note why."""
        faults = [self.jobs[number].learner.faults for number in numbers]
        self.refused = fallback.note(faults, fallback.PACK, error)
        self._unstack(numbers)
        for number in numbers:
            self.jobs[number].learner.way = {"step": "plain", "because": self.refused}

    def _unstack(self, numbers: list[int]) -> None:
        """Give weights and buffers memory of their own again."""
        self.stacked = None
        for number in numbers:
            for tensor in tensors_of(self.jobs[number]):
                # through `data`, so that the parameter stays the same object, by which the optimizer holds its state
                tensor.data = tensor.detach().clone()


def _is_unusual(job: Job, chunk: StepChunk) -> bool:
    return bool(chunk.index.shape[1] != usual_batch_size(job))


def usual_batch_size(job: Job) -> int:
    return job.train.per_update(len(job.parts["train"]))
