"""Jobs whose weights are rows of stacked tensors, and their steps."""

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
WORTH = 100
"""Steps from which on a script of them pays: TorchScript takes some 50 ms to make it."""

SETTLED = 3
"""Calls after which TorchScript changes a function no more: it looks on twice, and then rewrites it."""


class FirstStepError(Exception):
    """The first step went wrong, and was taken back."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class Rows:
    """What takes the same steps with all of them."""

    def __init__(
        self,
        jobs: dict[int, Job],
        tapes: list[list[Any]],
        own: list[Tensor],
        losses: list[Tensor],
        chance: dict[int, torch.Generator],
        steps: dict[int, Steps],
    ) -> None:
        from ..replay.tape import Below
        from .stack import Stack

        self.below = Below()
        self.jobs, self.numbers, self.steps, self.chance = jobs, list(jobs), steps, chance
        self.tried = False
        first = [t.detach() for t in held(next(iter(jobs.values())))]
        stack = Stack(tapes, [{"index": index} for index in own], [chance[n] for n in jobs], first)
        self.todo, self.calls = stack.runs, [one.call() for one in stack.runs]
        self.index, self.losses = stack.wide(own[0]), stack.wide_of(losses[0])
        self.params = [_learning(job) for job in jobs.values()]
        self.gradients = [[stack.row_of(p.grad, i) for p in self.params[0]] for i in range(len(jobs))]
        for i, job in enumerate(jobs.values()):
            for tensor, place in zip(held(job), [stack.row_if(t, i) for t in first], strict=True):
                if place is not None:
                    tensor.data = place
        self.script: Callable[..., Any] | None = None
        self.has_words = True

    def run(self, ahead: dict[int, StepChunk], count: int, over: threading.Event) -> None:
        """Some steps of all. A row that has ended computes on and is not looked at."""
        rows = {number: self.numbers.index(number) for number in ahead}
        drawn = self.index.new_zeros((count, *self.index.shape))
        for number, chunk in ahead.items():
            drawn[:, rows[number]] = chunk.index[chunk.taken :][:count]
            for p, gradient in zip(self.params[rows[number]], self.gradients[rows[number]], strict=True):
                p.grad = gradient  # a step by itself puts others there
        losses = self.losses.new_empty((count, len(self.numbers)))
        with torch.no_grad():
            by_script = self._by_script(ahead, drawn, losses)
            taken = count if by_script else self._one_by_one(ahead, drawn, losses, over)
        for number, row in rows.items():
            self.jobs[number].progress.losses.append(losses[:taken, row])

    def _one_by_one(self, ahead: dict[int, StepChunk], drawn: Tensor, losses: Tensor, over: threading.Event) -> int:
        """Step by step, with all that is between them; how many, for nobody may listen any more."""
        chunks, steps = list(ahead.values()), [self.steps[number] for number in ahead]
        for taken, (index, loss) in enumerate(zip(drawn.unbind(), losses.unbind(), strict=True)):
            if over.is_set():
                return taken
            self.index.copy_(index)
            for chunk in chunks:
                chunk.before()
            if self.tried:
                self._compute()
            else:
                self._try()
            loss.copy_(self.losses)
            for step in steps:
                step()
            for chunk in chunks:
                chunk.after()
        return len(drawn)

    def _compute(self) -> None:
        """Losses and gradients of all rows."""
        with self.below:
            for call in self.calls:
                call()

    def _try(self) -> None:
        """The same for the first time. FirstStepError, with buffers and random generators as they were."""
        before = [(buffer, buffer.clone()) for job in self.jobs.values() for buffer in job.network.buffers()]
        drawn = [(self.chance[number], self.chance[number].get_state()) for number in self.jobs]
        try:
            self._compute()
        except Exception as error:
            for buffer, held_before in before:
                buffer.copy_(held_before)
            for generator, was in drawn:
                generator.set_state(was)
            raise FirstStepError(error) from error
        self.tried = True

    # --- all of them in one call ------------------------------------------------------------------------------------

    def _by_script(self, ahead: dict[int, StepChunk], drawn: Tensor, losses: Tensor) -> bool:
        """All steps without Python between them; False where that is not possible, or does not pay."""
        if not self.has_words or not all(chunk.is_plain for chunk in ahead.values()):
            return False
        if self.script is None:
            self._write(ahead, drawn, losses)
        if self.script is None:
            return False
        factors = {n: [one.pace.at(one.job.progress.step + i) for i in range(len(drawn))] for n, one in ahead.items()}
        rates = [
            rate * factors[number][i] if number in ahead else 0.0
            for i in range(len(drawn))
            for number in self.numbers
            for rate in self.jobs[number].supervised.paces["network"].rates
        ]
        with self.below:
            self.script(drawn, losses, rates, [number in ahead for number in self.numbers], len(drawn))
        for number, chunk in ahead.items():
            chunk.took(factors[number])
        return True

    def _write(self, ahead: dict[int, StepChunk], drawn: Tensor, losses: Tensor) -> None:
        """The script, once optimizers have what they keep. What cannot be said is found out once.

        It is taken where it leaves every bit as the operations one by one do.
        """
        from ..replay.script import NoWordsError

        left = max(job.total_steps - job.progress.step for job in self.jobs.values())
        optimizers = [step for step in self.steps.values() if isinstance(step, Direct)]
        self.has_words = left >= WORTH and len(optimizers) == len(self.steps)
        if not self.has_words or not all(optimizer.moves() for optimizer in optimizers):
            return
        try:
            script = self._lines(optimizers)
            run = script.function("drawn: Tensor, losses: Tensor, rates: List[float], active: List[bool], count: int")
            if self._agrees(run, script.memory(), ahead, drawn[:1], losses[:1]):
                self.script = run
        except NoWordsError:
            pass
        except Exception as error:  # noqa: BLE001
            fallback.note([job.learner.faults for job in self.jobs.values()], fallback.SCRIPT, error)
        self.has_words = self.script is not None

    def _lines(self, optimizers: list[Direct]) -> Script:
        """`count` steps: the examples of each row, the operations, the losses, each optimizer at its rate."""
        from ..replay.script import Do, Script, Word, copy

        aten, script, inside = torch.ops.aten, Script(), "    "
        script.lines.append("for k in range(count):")
        for one in (copy(self.index, Word("drawn[k]")), *self.todo, copy(Word("losses[k]"), self.losses)):
            script.add(one, inside)
        rates = sum(len(optimizer.lists) for optimizer in optimizers)
        at = iter(range(rates))
        for row, optimizer in enumerate(optimizers):
            script.lines.append(f"{inside}if active[{row}]:")
            for lists, move in zip(optimizer.lists, optimizer.moves(), strict=True):
                if lists.steps is not None:
                    script.add(Do(aten.add_.Scalar, (lists.steps, 1)), 2 * inside)
                rate = {"lr": Word(f"rates[k * {rates} + {next(at)}]")}
                script.add(Do(getattr(aten, move.op.__name__).default, move.args, rate | move.kwargs), 2 * inside)
        return script

    def _agrees(
        self,
        script: Callable[..., Any],
        memory: list[Tensor],
        ahead: dict[int, StepChunk],
        drawn: Tensor,
        losses: Tensor,
    ) -> bool:
        """Whether one step by script and one without come to the same bits; all are taken back."""
        before = [one.clone() for one in memory]
        found: dict[bool, list[Tensor]] = {}
        rates = [group["lr"] for job in self.jobs.values() for group in job.supervised.optimizer.param_groups]
        active = [number in ahead for number in self.numbers]
        for by_script in (*(True,) * SETTLED, False):
            try:
                if by_script:
                    with self.below:
                        script(drawn, losses, rates, active, 1)
                else:
                    self.index.copy_(drawn[0])
                    self._compute()
                for number in () if by_script else ahead:
                    self.steps[number]()
                found[by_script] = [one.clone() for one in memory]
            finally:
                for one, was in zip(memory, before, strict=True):
                    one.copy_(was)
        return all(torch.equal(one, other) for one, other in zip(found[True], found[False], strict=True))


def _learning(job: Job) -> list[Tensor]:
    return [p for p in job.network.parameters() if p.requires_grad]


def held(job: Job) -> list[Tensor]:
    return [*job.network.parameters(), *job.network.buffers()]
