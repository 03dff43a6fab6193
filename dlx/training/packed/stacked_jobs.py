"""Jobs whose weights are rows of stacked tensors, and the steps that they take together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from ...optim.fused import Direct
from .. import fallback
from ..batches.step_chunk import StepChunk

if TYPE_CHECKING:
    from torch import Tensor

    from ..fit import Job
    from ..replay.script import Script

Steps = Callable[[], Any]
MIN_SCRIPT_STEPS = 100
"""Steps that have to remain for a script of them to pay: TorchScript takes some 50 ms to compile it."""

SCRIPT_WARMUP_CALLS = 3
"""Calls after which TorchScript no longer changes a function: it profiles two, and then rewrites it."""


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
        self.operations, self.calls = stack.operations, [one.call() for one in stack.operations]
        self.index, self.losses = stack.stacked(own[0]), stack.stacked_of(losses[0])
        self.params = [_trainable(job) for job in jobs.values()]
        self.gradients = [[stack.row_of(p.grad, i) for p in self.params[0]] for i in range(len(jobs))]
        for i, job in enumerate(jobs.values()):
            for tensor, row in zip(tensors_of(job), [stack.row_if(t, i) for t in first], strict=True):
                if row is not None:
                    # from here on a network's weights are a row of the stack: what is evaluated, saved or stepped by
                    # the job's own optimizer is the memory that the stacked operations read
                    tensor.data = row
        self.script: Callable[..., Any] | None = None
        self.scriptable = True

    def run(self, pending: dict[int, StepChunk], count: int, stopped: threading.Event) -> None:
        """Take `count` steps of all jobs with a pending chunk. Rows of ended jobs are computed too, and not used."""
        rows = {number: self.numbers.index(number) for number in pending}
        indices = self.index.new_zeros((count, *self.index.shape))
        for number, chunk in pending.items():
            indices[:, rows[number]] = chunk.index[chunk.done :][:count]
            for p, gradient in zip(self.params[rows[number]], self.gradients[rows[number]], strict=True):
                p.grad = gradient  # a step that the job took alone has put another tensor there
        losses = self.losses.new_empty((count, len(self.numbers)))
        with torch.no_grad():
            by_script = self._by_script(pending, indices, losses)
            taken = count if by_script else self._one_by_one(pending, indices, losses, stopped)
        for number, row in rows.items():
            self.jobs[number].progress.losses.append(losses[:taken, row])

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

    # --- all of them in one call ------------------------------------------------------------------------------------

    def _by_script(self, pending: dict[int, StepChunk], indices: Tensor, losses: Tensor) -> bool:
        """Take all steps in one call of TorchScript; False where that is not possible, or does not pay."""
        if not self.scriptable or not all(chunk.changes_only_rates for chunk in pending.values()):
            return False
        if self.script is None:
            self._build_script(pending, indices, losses)
        if self.script is None:
            return False
        factors = {
            n: [one.scheduled.factor_at(one.job.progress.step + i) for i in range(len(indices))]
            for n, one in pending.items()
        }
        rates = [
            rate * factors[number][i] if number in pending else 0.0
            for i in range(len(indices))
            for number in self.numbers
            for rate in _rates(self.jobs[number])
        ]
        with self.below:
            self.script(indices, losses, rates, [number in pending for number in self.numbers], len(indices))
        for number, chunk in pending.items():
            chunk.advance(factors[number])
        return True

    def _build_script(self, pending: dict[int, StepChunk], indices: Tensor, losses: Tensor) -> None:
        """Compile the script, and use it if it leaves every bit as the operations one by one do; tried once.

        Optimizers allocate their state in their first step, so nothing is tried before that.
        """
        from ..replay.script import UnscriptableError

        left = max(job.total_steps - job.progress.step for job in self.jobs.values())
        optimizers = [step for step in self.steps.values() if isinstance(step, Direct)]
        self.scriptable = left >= MIN_SCRIPT_STEPS and len(optimizers) == len(self.steps)
        if not self.scriptable or not all(optimizer.moves() for optimizer in optimizers):
            return
        try:
            script = self._script_of(optimizers)
            run = script.function(
                "indices: Tensor, losses: Tensor, rates: List[float], active: List[bool], count: int"
            )
            if self._agrees(run, script.memory(), pending, indices[:1], losses[:1]):
                self.script = run
        except UnscriptableError:
            pass
        except Exception as error:  # noqa: BLE001
            fallback.note([job.learner.faults for job in self.jobs.values()], fallback.SCRIPT, error)
        self.scriptable = self.script is not None

    def _script_of(self, optimizers: list[Direct]) -> Script:
        """Write `count` steps: copy the indices in, run the operations, copy the losses out, run each optimizer."""
        from ..replay.script import Operation, Script, Variable, copy

        aten, script, inside = torch.ops.aten, Script(), "    "
        script.lines.append("for k in range(count):")
        for one in (
            copy(self.index, Variable("indices[k]")),
            *self.operations,
            copy(Variable("losses[k]"), self.losses),
        ):
            script.add(one, inside)
        rates = sum(len(optimizer.lists) for optimizer in optimizers)
        at = iter(range(rates))
        for row, optimizer in enumerate(optimizers):
            # the optimizer of an ended job must not move the weights that it ended with
            script.lines.append(f"{inside}if active[{row}]:")
            for lists, move in zip(optimizer.lists, optimizer.moves(), strict=True):
                if lists.steps is not None:
                    script.add(Operation(aten.add_.Scalar, (lists.steps, 1)), 2 * inside)
                rate = {"lr": Variable(f"rates[k * {rates} + {next(at)}]")}
                script.add(
                    Operation(getattr(aten, move.op.__name__).default, move.args, rate | move.kwargs), 2 * inside
                )
        return script

    def _agrees(
        self,
        script: Callable[..., Any],
        memory: list[Tensor],
        pending: dict[int, StepChunk],
        indices: Tensor,
        losses: Tensor,
    ) -> bool:
        """Whether a step by script and one without leave the same bits; both are undone."""
        before = [one.clone() for one in memory]
        found: dict[bool, list[Tensor]] = {}
        rates = [group["lr"] for job in self.jobs.values() for group in _moving(job)]
        active = [number in pending for number in self.numbers]
        for by_script in (*(True,) * SCRIPT_WARMUP_CALLS, False):
            try:
                if by_script:
                    with self.below:
                        script(indices, losses, rates, active, 1)
                else:
                    self.index.copy_(indices[0])
                    self._compute()
                for number in () if by_script else pending:
                    self.steps[number]()
                found[by_script] = [one.clone() for one in memory]
            finally:
                for one, was in zip(memory, before, strict=True):
                    one.copy_(was)
        return all(torch.equal(one, other) for one, other in zip(found[True], found[False], strict=True))


def _trainable(job: Job) -> list[Tensor]:
    return [p for p in job.network.parameters() if p.requires_grad]


def _moving(job: Job) -> list[dict[str, Any]]:
    """Return the groups of the optimizer with a weight that is trained now."""
    groups: list[dict[str, Any]] = job.supervised.optimizer.param_groups
    return [group for group in groups if any(p.requires_grad for p in group["params"])]


def _rates(job: Job) -> list[float]:
    """Return the rates of these groups before the schedule."""
    scheduled = job.supervised.optimizers["network"]
    moving = [id(group) for group in _moving(job)]
    groups = zip(scheduled.optimizer.param_groups, scheduled.rates, strict=True)
    return [rate for group, rate in groups if id(group) in moving]


def tensors_of(job: Job) -> list[Tensor]:
    """Return what the steps of a job read and change, in one order for all jobs of one shape."""
    return [*job.network.parameters(), *job.network.buffers(), *job.learner.values.tensors.values()]
