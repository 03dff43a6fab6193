"""Many steps of stacked trainings in one call of TorchScript, which holds Python's lock at no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from ...optim.fused import Direct
from .. import fallback
from ..phased import Clip

if TYPE_CHECKING:
    from torch import Tensor

    from ..batches.step_chunk import StepChunk
    from ..fit import Job
    from ..learning_rate import ScheduledOptimizer
    from ..replay.script import Operation, Script

MIN_STEPS = 50
"""Steps that have to remain for a script of them to pay: to compile and check it takes some 25 ms, and each step of
eight small networks is half a millisecond shorter by it."""


@dataclass(frozen=True)
class Stage:
    """Part of a step of stacked trainings: operations on all rows, then the moves of the weights of each row."""

    operations: list[Operation]
    index: Tensor | None
    """Where the operations read the examples of all rows, (rows, examples); None where they read none."""
    batch: int
    """Which of the batches of the step these are."""
    terms: list[Tensor]
    """Losses of all rows, (rows,) each."""
    column: int
    """Place of the first of them among the losses of the step."""
    weights: list[list[Tensor]]
    """Weights of each row that the stage moves."""
    gradients: list[list[Tensor | None]]
    """Memory in which the operations leave their gradients."""
    moves: list[list[Callable[[], Any]]]
    """What moves them."""

    def hand_over(self, row: int) -> None:
        """Put the gradients of a row where its optimizers read them."""
        hand_over(self.weights[row], self.gradients[row])


def hand_over(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Put the gradients of weights where optimizers read them."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


class ManySteps:
    """Steps of stacked `jobs` as one call, where nothing but learning rates changes from step to step.

    It is compiled once the optimizers have allocated their state, and taken if a step of it leaves every bit as
    `plain` does, which takes one step of some jobs, by their numbers, on indices (batches, rows, examples).
    `generators` are those that operations draw from. `compared` is all that both must leave alike where the plain
    step has memory of its own for what lies between; else it is all that the script writes.
    """

    def __init__(
        self,
        jobs: Mapping[int, Job],
        generators: Sequence[torch.Generator],
        plain: Callable[[Tensor, Sequence[int]], None],
        compared: Sequence[Tensor] = (),
    ) -> None:
        from ..replay.tape import BelowAutograd

        self.below = BelowAutograd()
        self.jobs, self.generators, self.plain, self.compared = jobs, generators, plain, compared
        self.rates = {number: list(_rates_of(job)) for number, job in jobs.items()}
        self.places: dict[int, int] = {}
        """Place of the first rate of each optimizer, by its identity, among those of all jobs."""
        self.rate_count = 0
        for scheduled, rates in (one for each in self.rates.values() for one in each):
            self.places[id(scheduled.optimizer)] = self.rate_count
            self.rate_count += len(rates)
        self.script: Callable[..., Any] | None = None
        self.possible = True

    def serve(self, pending: Mapping[int, StepChunk]) -> bool:
        """Whether steps of these chunks may be taken in one call."""
        return self.possible and all(chunk.changes_only_rates for chunk in pending.values())

    def take(
        self, stages: Sequence[Stage], pending: Mapping[int, StepChunk], indices: Tensor, losses: Tensor
    ) -> bool:
        """Take all steps of `indices` (steps, batches, rows, examples), and write `losses` (steps, terms, rows).

        False, with no step taken, where there is no script.
        """
        if self.script is None:
            self._build(stages, pending, indices[:1], losses[:1])
        if self.script is None:
            return False
        steps = {number: chunk.progress.step for number, chunk in pending.items()}
        rates = self._rates_of(steps, len(indices))
        with self.below:
            self.script(indices, losses, rates, [number in pending for number in self.jobs], len(indices))
        for chunk in pending.values():
            chunk.advance(len(indices))
        return True

    def _rates_of(self, steps: Mapping[int, int], count: int) -> list[float]:
        """Return the learning rates of all groups of all jobs, step by step; 0 for jobs that do not step."""
        groups: list[list[float]] = []
        for number, optimizers in self.rates.items():
            for scheduled, rates in optimizers:
                now = range(steps[number], steps[number] + count) if number in steps else ()
                factors = [*map(scheduled.factor_at, now)] or [0.0] * count
                groups += [[rate * factor for factor in factors] for rate in rates]
        return [rate for step in zip(*groups, strict=True) for rate in step]

    def _build(
        self, stages: Sequence[Stage], pending: Mapping[int, StepChunk], indices: Tensor, losses: Tensor
    ) -> None:
        """Compile the script, and keep it if it leaves every bit as the plain step does; tried once.

        Optimizers allocate their state in their first step, so nothing is tried before that.
        """
        from ..replay.script import UnscriptableError

        left = max(job.total_steps - job.progress.step for job in self.jobs.values())
        moves = [move for stage in stages for row in stage.moves for move in row]
        self.possible = left >= MIN_STEPS and all(isinstance(move, Direct | Clip) for move in moves)
        if not self.possible:
            return
        try:
            script = self._script_of(stages)
            if script is None:
                return
            arguments = "indices: Tensor, losses: Tensor, rates: List[float], active: List[bool], count: int"
            run = script.function(arguments)
            # a copy of all examples would take as long as a thousand small steps
            if self._agrees(run, script.memory(self._examples()), pending, indices, losses):
                self.script = run
        except UnscriptableError:
            pass
        except Exception as error:  # noqa: BLE001
            fallback.note([job.learner.faults for job in self.jobs.values()], fallback.SCRIPT, error)
        self.possible = self.script is not None

    def _examples(self) -> list[Tensor]:
        parts = [job.parts["train"] for job in self.jobs.values() if "train" in job.parts]
        return [table for part in parts for table in part.fields.values() if isinstance(table, torch.Tensor)]

    def _script_of(self, stages: Sequence[Stage]) -> Script | None:
        """Write `count` steps; None as long as an optimizer has no state."""
        from ..replay.script import Script, Variable, copy

        script, inside = Script(), "    "
        script.lines.append("for k in range(count):")
        for stage in stages:
            if stage.index is not None:
                script.add(copy(stage.index, Variable(f"indices[k, {stage.batch}]")), inside)
            for one in stage.operations:
                script.add(one, inside)
            for column, term in enumerate(stage.terms, stage.column):
                script.add(copy(Variable(f"losses[k, {column}]"), term), inside)
            for row in range(len(self.jobs)):
                stage.hand_over(row)
                moves = list(self._moves(stage.moves[row]))
                if not moves:
                    return None
                # the optimizer of an ended job must not move the weights that it ended with
                script.lines.append(f"{inside}if active[{row}]:")
                for one in moves:
                    script.add(one, 2 * inside)
        return script

    def _moves(self, moves: Sequence[Callable[[], Any]]) -> Iterator[Operation]:
        """Yield moves of the weights of a row as operations; none as long as an optimizer has no state."""
        from ..replay.script import Operation, Variable

        if not all(move.moves() for move in moves if isinstance(move, Direct)):
            return
        aten = torch.ops.aten
        for move in moves:
            if isinstance(move, Clip):
                yield from (Operation(aten.clamp_.default, (w, -move.bound, move.bound)) for w in move.weights)
            elif isinstance(move, Direct):
                calls = zip(move.lists, move.moves(), strict=True)
                for at, (lists, call) in enumerate(calls, self.places[id(move.optimizer)]):
                    if lists.steps is not None:
                        yield Operation(aten.add_.Scalar, (lists.steps, 1))
                    rate = {"lr": Variable(f"rates[k * {self.rate_count} + {at}]")}
                    yield Operation(getattr(aten, call.op.__name__).default, call.args, rate | call.kwargs)

    def _agrees(
        self,
        script: Callable[..., Any],
        memory: list[Tensor],
        pending: Mapping[int, StepChunk],
        indices: Tensor,
        losses: Tensor,
    ) -> bool:
        """Whether a step by script and a plain one leave the same bits; both are undone."""
        before, states = [one.clone() for one in memory], [one.get_state() for one in self.generators]
        steps = [scheduled.optimizer.param_groups for one in self.rates.values() for scheduled, _ in one]
        rates = [group["lr"] for groups in steps for group in groups if _is_trained(group)]
        active = [number in pending for number in self.jobs]
        compared = self.compared or memory

        def restore() -> None:
            for one, was in zip(memory, before, strict=True):
                one.copy_(was)
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

        try:
            with self.below:
                script(indices, losses, rates, active, 1)
            found = [*(one.clone() for one in compared), *(one.get_state() for one in self.generators)]
            restore()
            self.plain(indices[0], list(pending))
            wanted = [*compared, *(one.get_state() for one in self.generators)]
            return all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
        finally:
            restore()


def _rates_of(job: Job) -> Iterator[tuple[ScheduledOptimizer, list[float]]]:
    """Yield each optimizer with the rates, before the schedule, of its groups with a weight that is trained now."""
    for scheduled in job.learner.optimizers.values():
        groups = zip(scheduled.optimizer.param_groups, scheduled.rates, strict=True)
        yield scheduled, [rate for group, rate in groups if _is_trained(group)]


def _is_trained(group: Mapping[str, Any]) -> bool:
    return any(p.requires_grad for p in group["params"])
