"""Jobs whose weights are rows of stacked tensors, and the steps that they take together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from ..batches.step_chunk import StepChunk
from .many_steps import ManySteps, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from ..fit import Job

Steps = Callable[[], Any]


class FirstStepError(Exception):
    """The first stacked step failed; buffers and generators are as they were before it."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class StackedJobs:
    """Jobs that take their steps together.

    `tapes`, `own` and `losses` are the recorded step, its indices and its loss for each job, `steps` their
    optimizers'.
    """

    def __init__(
        self,
        jobs: dict[int, Job],
        tapes: list[list[Any]],
        own: list[Tensor],
        losses: list[Tensor],
        rngs: dict[int, torch.Generator],
        steps: dict[int, Steps],
    ) -> None:
        from ..replay.tape import BelowAutograd
        from .stack import Stack

        self.below = BelowAutograd()
        self.jobs, self.numbers, self.steps, self.rngs = jobs, list(jobs), steps, rngs
        self.first_step_done = False
        first = [t.detach() for t in tensors_of(next(iter(jobs.values())))]
        stack = Stack(tapes, [{"index": index} for index in own], [rngs[n] for n in jobs], first)
        self.calls = [one.call() for one in stack.operations]
        self.index, self.losses = stack.stacked(own[0]), stack.stacked_of(losses[0])
        self.params = [_trainable(job) for job in jobs.values()]
        self.gradients = [[stack.row_of(p.grad, i) for p in self.params[0]] for i in range(len(jobs))]
        for i, job in enumerate(jobs.values()):
            for tensor, row in zip(tensors_of(job), [stack.row_if(t, i) for t in first], strict=True):
                if row is not None:
                    # from here on a network's weights are a row of the stack: what is evaluated, saved or stepped by
                    # the job's own optimizer is the memory that the stacked operations read
                    tensor.data = row
        moves: list[list[Steps]] = [[step] for step in steps.values()]
        operations, terms = stack.operations, [self.losses]
        self.stage = Stage(operations, self.index, 0, terms, 0, self.params, self.gradients, moves)
        self.many = ManySteps(jobs, [rngs[number] for number in jobs], self._plain)

    def run(self, pending: dict[int, StepChunk], count: int, stopped: threading.Event) -> None:
        """Take `count` steps of all jobs with a pending chunk. Rows of ended jobs are computed too, and not used."""
        rows = {number: self.numbers.index(number) for number in pending}
        indices = self.index.new_zeros((count, 1, *self.index.shape))
        for number, chunk in pending.items():
            indices[:, 0, rows[number]] = chunk.index[chunk.done :][:count]
            self.stage.hand_over(rows[number])  # a step that the job took alone has put other gradients there
        losses = self.losses.new_empty((count, 1, len(self.numbers)))
        with torch.no_grad():
            at_once = self.many.serve(pending) and self.many.take([self.stage], pending, indices, losses)
            taken = count if at_once else self._one_by_one(pending, indices[:, 0], losses[:, 0], stopped)
        for number, row in rows.items():
            self.jobs[number].progress.losses.append(losses[:taken, 0, row])

    def _one_by_one(
        self, pending: dict[int, StepChunk], indices: Tensor, losses: Tensor, stopped: threading.Event
    ) -> int:
        """Take the steps one by one, until `stopped`; return how many were taken."""
        chunks, steps = list(pending.values()), [self.steps[number] for number in pending]
        for taken, (index, loss) in enumerate(zip(indices.unbind(), losses.unbind(), strict=True)):
            if stopped.is_set():
                return taken
            self.index.copy_(index)
            for chunk in chunks:
                chunk.before()
            if self.first_step_done:
                self._compute()
            else:
                self._first_compute()
            loss.copy_(self.losses)
            for step in steps:
                step()
            for chunk in chunks:
                chunk.after()
        return len(indices)

    def _plain(self, index: Tensor, numbers: Sequence[int]) -> None:
        """Take a step of some jobs on indices (1, rows, examples)."""
        self.index.copy_(index[0])
        self._compute()
        for number in numbers:
            self.steps[number]()

    def _compute(self) -> None:
        """Compute losses and gradients of all rows."""
        with self.below:
            for call in self.calls:
                call()

    def _first_compute(self) -> None:
        """Compute for the first time. FirstStepError, with buffers and random generators restored."""
        buffers = [(buffer, buffer.clone()) for job in self.jobs.values() for buffer in job.network.buffers()]
        generators = [(self.rngs[number], self.rngs[number].get_state()) for number in self.jobs]
        try:
            self._compute()
        except Exception as error:
            for buffer, before in buffers:
                buffer.copy_(before)
            for generator, state in generators:
                generator.set_state(state)
            raise FirstStepError(error) from error
        self.first_step_done = True


def _trainable(job: Job) -> list[Tensor]:
    return [p for p in job.network.parameters() if p.requires_grad]


def tensors_of(job: Job) -> list[Tensor]:
    """Return what the steps of a job read and change, in one order for all jobs of one shape."""
    return [*job.network.parameters(), *job.network.buffers(), *job.learner.values.tensors.values()]
