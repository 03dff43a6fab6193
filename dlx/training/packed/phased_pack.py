"""Several trainings of one objective with phases at once: each phase of all of them as one stacked step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any

from ...data.batch import Batch
from ...lazy import torch
from .. import fallback
from ..batches.example_order import Examples
from ..batches.step_chunk import StepChunk
from ..phased import Phased
from .many_steps import ManySteps, Stage, hand_over
from .pack import MAX_BYTES, RESTACK_BELOW, Pack, usual_batch_size
from .stacked_jobs import tensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..fit import Job
    from ..phase_gradients import PhaseGradients
    from ..replay.tape import RecordedCall
    from .stack import Stack

Taken = list[tuple[int, "Tensor | None"]]
"""The phases of a step by number, once a repetition, each with the indices of its examples."""
MIN_EPOCHS = 3
"""Epochs that have to remain for their last batches to be recorded too: that takes as long as a few steps alone."""


class Size(Enum):
    """Sizes of the batches of a step."""

    USUAL = auto()
    LAST = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Recorded:
    """The operations of a phase of one training, with the indices that they read, and what they leave."""

    calls: list[RecordedCall]
    index: Tensor | None
    terms: list[Tensor]
    gradients: list[Tensor | None]


class PhasedPack(Pack):
    """Pack of trainings with phases.

    Trainings take a step together where it has the same phases and batches of the usual size, else each by itself:
    that depends on no other training, so that a resumed run takes each step as it would have been taken. The last
    batches of an epoch, which are smaller, are taken together where that leaves the bits of each by itself.
    """

    stacked: StackedPhases | None  # type: ignore[assignment]

    def _build(self, number: int) -> None:
        job = self.jobs[number]
        job.learner.freezing.apply(job.progress.step)
        self.periods[number] = job.learner.freezing.period
        learner_of(job).build_phases()

    def run_chunks(self, pending: dict[int, StepChunk]) -> None:
        """Take as many steps of these jobs as the shortest of their chunks has left."""
        pending = self._in_one_period(pending)
        if self.stacked is not None and len(pending) <= RESTACK_BELOW * len(self.stacked.numbers):
            self._unstack(list(pending))
        left = min(chunk.remaining for chunk in pending.values())
        while left and not self.stopped.is_set():
            taken = self._many(pending, left)
            if not taken:
                self._step(pending)
            left -= taken or 1

    def _many(self, pending: dict[int, StepChunk], most: int) -> int:
        """Take up to `most` steps of these jobs in one call; return how many, 0 where that cannot be."""
        stacked = self.stacked
        if stacked is None or not pending.keys() <= set(stacked.numbers) or not stacked.serve(pending):
            return 0
        count = min(most, *(stacked.usual_steps(number) for number in pending))
        return count if count and stacked.take(pending, count) else 0

    def _step(self, pending: dict[int, StepChunk]) -> None:
        """Take one step of each job."""
        for chunk in pending.values():
            chunk.before()
        taken = {number: _taken(self.jobs[number]) for number in pending}
        alike: dict[tuple[object, ...], list[int]] = {}
        for number in pending:
            alike.setdefault(self._kind(number, taken[number]), []).append(number)
        for (size, *_), numbers in alike.items():
            if size is Size.USUAL:
                self._together(numbers, taken, list(pending))
            elif size is not Size.LAST or not self._shorter(numbers, taken, list(pending)):
                for number in numbers:
                    self._alone(number, taken[number])
        for chunk in pending.values():
            chunk.after()

    def _kind(self, number: int, taken: Taken) -> tuple[object, ...]:
        """Return the size of the batches of a step, and its phases."""
        job, sizes = self.jobs[number], {len(index) for _, index in taken if index is not None}
        size = next(
            (one for one, of in ((Size.USUAL, usual_batch_size), (Size.LAST, last_batch_size)) if sizes <= {of(job)}),
            Size.OTHER,
        )
        return size, *(phase for phase, _ in taken)

    def _alone(self, number: int, taken: Taken) -> None:
        """Take a step of one job as it would be taken without the others."""
        learner, feed = learner_of(self.jobs[number]), feed_of(self.jobs[number])
        found: dict[int, Sequence[Tensor]] = {}
        with self.own_rng(number):
            for phase, index in taken:
                found[phase] = learner.gradients[phase](batch_of(feed, index))
                for move in learner.moves[phase]:
                    move()
        self.jobs[number].progress.losses.append(torch.stack(learner.all_terms(found)))

    def _shorter(self, numbers: list[int], taken: dict[int, Taken], live: list[int]) -> bool:
        """Take a step of some jobs on smaller batches as one; return False, and take none, where that cannot be."""
        stacked = self.stacked
        if stacked is None or not stacked.shorter or not set(live) <= set(stacked.numbers):
            return False
        if not all((index is None) == (stacked.shorter[phase].index is None) for phase, index in taken[numbers[0]]):
            return False
        self._take(stacked, stacked.shorter, numbers, taken, live)
        return True

    def _take(
        self,
        stacked: StackedPhases,
        phases: list[StackedPhase],
        numbers: list[int],
        taken: dict[int, Taken],
        live: list[int],
    ) -> None:
        terms = stacked.step({number: taken[number] for number in numbers}, live, phases)
        for number in numbers:
            self.jobs[number].progress.losses.append(terms[:, stacked.numbers.index(number)])

    def _together(self, numbers: list[int], taken: dict[int, Taken], live: list[int]) -> None:
        """Take a step of some jobs as one, or of each alone where that cannot be."""
        if self.stacked is not None and not set(live) <= set(self.stacked.numbers):
            self._unstack(self.stacked.numbers)
        if self.stacked is None and not self.refused:
            self._stack_phases(live)
        stacked = self.stacked
        if stacked is None or not stacked.has(taken[numbers[0]]):
            for number in numbers:
                self._alone(number, taken[number])
            return
        self._take(stacked, stacked.phases, numbers, taken, live)

    def _stack_phases(self, numbers: list[int]) -> None:
        """Record each phase of each job, without effect on the training, and stack the networks."""
        try:
            jobs = {number: self.jobs[number] for number in numbers}
            recorded = self._recorded_all(jobs, usual_batch_size)
            stacked = StackedPhases(jobs, recorded, self.rngs, self._recorded_shorter(jobs))
            stacked.check()
            self.stacked = stacked
        except fallback.UntraceableError as error:
            self.refused = str(error)
        except Exception as error:  # noqa: BLE001 - an error of the plain step itself comes again
            faults = [self.jobs[number].learner.faults for number in numbers]
            self.refused = fallback.note(faults, fallback.PACK, error)
            self._unstack(numbers)
        packed = {"step": "packed", "because": f"{self.total} of one shape"}
        for number in numbers:
            self.jobs[number].learner.way = {"step": "plain", "because": self.refused} if self.refused else packed

    def _recorded_shorter(self, jobs: Mapping[int, Job]) -> list[list[Recorded]]:
        """Record the phases of each job on batches as the last one of an epoch; none where that does not pay."""
        if not all(
            last_batch_size(job) and job.total_steps - job.progress.step > MIN_EPOCHS * job.span.per_epoch
            for job in jobs.values()
        ):
            return []
        try:
            return self._recorded_all(jobs, last_batch_size)
        except Exception:  # noqa: BLE001 - each takes such batches by itself, and what is wrong with them comes then
            return []

    def _recorded_all(self, jobs: Mapping[int, Job], size: Callable[[Job], int]) -> list[list[Recorded]]:
        """Record the phases of each job on batches of a size. UntraceableError where they would keep much memory."""
        from ..replay import tape

        found: list[list[Recorded]] = []
        for number, job in jobs.items():
            found.append(self._recorded(number, size(job)))
            # the others keep as much as the first one, or are not stacked
            if len(found) == 1 and sum(tape.memory(one.calls) for one in found[0]) > MAX_BYTES // self.total:
                raise fallback.UntraceableError(f"stacked they would keep more than {MAX_BYTES // 2**20:,} MiB")
        return found

    def _recorded(self, number: int, size: int) -> list[Recorded]:
        from ..replay import tape

        job = self.jobs[number]
        learner, feed = learner_of(job), feed_of(job)
        found, first = [], next((i for i, phase in enumerate(learner.phases) if phase.reads), len(learner.phases))
        for i, gradients in enumerate(learner.gradients):
            # of memory that the stack writes to in every later step; which examples these are makes no difference
            index = torch.arange(size) if i >= first else None
            with self.own_rng(number), fallback.Rollback(job.network, [learner.rng]):
                # what an objective makes once, in its first call, is no part of a step: whether a phase can be
                # stacked must not depend on steps that were taken alone before
                _computed(gradients, feed, index)
            with self.own_rng(number), fallback.Rollback(job.network, [learner.rng]):
                calls, terms = tape.record(partial(_computed, gradients, feed, index))
            found.append(Recorded(calls, index, terms, [weight.grad for weight in gradients.weights]))
        learner.name_losses()
        return found


class StackedPhases:
    """Jobs whose weights are rows of stacked tensors, with the steps of their phases.

    `recorded` has the phases of each job. UntraceableError where they differ.
    """

    def __init__(
        self,
        jobs: dict[int, Job],
        recorded: list[list[Recorded]],
        rngs: Mapping[int, torch.Generator],
        shorter: list[list[Recorded]],
    ) -> None:
        """`shorter` are phases on smaller batches, empty where there are none."""
        from ..replay.tape import BelowAutograd

        self.below = BelowAutograd()
        self.jobs, self.numbers = jobs, list(jobs)
        self.rngs = {number: [rngs[number], learner_of(job).rng] for number, job in jobs.items()}
        held = [t.detach() for t in tensors_of(next(iter(jobs.values())))]
        rows: dict[int, Tensor] = {}
        self.phases = self._stacked(recorded, held, rows)
        stack = self.phases[-1].stack
        self.shorter = self._shorter(shorter, held, rows) if shorter else []
        """The phases on smaller batches, where they leave the bits of each job by itself."""
        self.batches, self.stages = self._step_of(list(map(learner_of, jobs.values())))
        self.many = ManySteps(jobs, [one for each in self.rngs.values() for one in each], self._plain)
        for i, job in enumerate(jobs.values()):
            for tensor, first in zip(tensors_of(job), held, strict=True):
                if (row := stack.row_if(first, i)) is not None:
                    # what is evaluated, saved or moved by the job's own optimizers is from here on the memory that
                    # the stacked operations read
                    tensor.data = row

    def _stacked(
        self, recorded: list[list[Recorded]], held: list[Tensor], rows: dict[int, Tensor], *, by_row: bool = False
    ) -> list[StackedPhase]:
        """Stack phases on the rows of weights that there are, to which those of others are added."""
        from .stack import Stack

        phases, jobs = [], self.jobs.values()
        rngs = [self.rngs[number][0] for number in self.jobs]
        for number, each in enumerate(zip(*recorded, strict=True)):
            inputs = [{"index": one.index} if one.index is not None else {} for one in each]
            stack = Stack([one.calls for one in each], inputs, rngs, held, rows, by_row=by_row)
            rows |= stack.rows_of(held)
            weights = [learner_of(job).gradients[number].weights for job in jobs]
            phases.append(StackedPhase(stack, each[0], weights))
        return phases

    def _shorter(
        self, recorded: list[list[Recorded]], held: list[Tensor], rows: dict[int, Tensor]
    ) -> list[StackedPhase]:
        """Stack phases on smaller batches: all rows at once, else row by row, where that leaves the bits of each job.

        The weights of the jobs are not rows yet, so that nothing of them is touched.
        """
        for by_row in (False, True):
            try:
                phases = self._stacked(recorded, held, rows, by_row=by_row)
                if self._agrees(phases, recorded, rows):
                    return phases
            except fallback.UntraceableError:
                pass
        return []

    def _agrees(self, phases: list[StackedPhase], recorded: list[list[Recorded]], rows: dict[int, Tensor]) -> bool:
        """Whether phases leave the terms and gradients that each job had by itself, to the bit; they are undone."""
        for phase, each in zip(phases, zip(*recorded, strict=True), strict=True):
            before = [(row, row.clone()) for row in rows.values()]
            with self._restored(self.numbers), torch.no_grad(), self.below:
                phase.compute()
                wanted = [[*one.terms, *one.gradients] for one in each]
                found = [[*(term[row] for term in phase.terms), *phase.gradients[row]] for row in range(len(each))]
                same = all(
                    _same(*pair) for pairs in zip(found, wanted, strict=True) for pair in zip(*pairs, strict=True)
                )
                for row, was in before:
                    row.copy_(was)
            if not same:
                return False
        return True

    def _step_of(self, learners: Sequence[Phased]) -> tuple[int, list[tuple[int, Stage]]]:
        """Return the number of batches of a step, and its stages with the numbers of their phases.

        There are no stages where the phases of one step are not those of the next.
        """
        if any(phase.every > 1 for phase in learners[0].phases):
            return 0, []
        columns, slots = [0, *itertools.accumulate(len(phase.terms) for phase in self.phases)], itertools.count()
        stages = []
        for number, slot in learners[0].repetitions(lambda _: next(slots)):
            moves = [learner.moves[number] for learner in learners]
            stages.append((number, self.phases[number].stage(slot or 0, columns[number], moves)))
        return next(slots), stages

    def has(self, taken: Taken) -> bool:
        """Whether each phase of a step was recorded with examples where it has some, and without where not."""
        return all((index is None) == (self.phases[phase].index is None) for phase, index in taken)

    def check(self) -> None:
        """Compute each phase once, without effect on the training: what fails does so before the first step."""
        with self._restored(self.numbers), torch.no_grad(), self.below:
            for phase in self.phases:
                phase.compute()

    @contextmanager
    def _restored(self, numbers: Sequence[int]) -> Iterator[None]:
        """Restore buffers and random generators of some jobs at the end of the context."""
        buffers = [(b, b.clone()) for number in numbers for b in self.jobs[number].network.buffers()]
        states = [(one, one.get_state()) for number in numbers for one in self.rngs[number]]
        try:
            yield
        finally:
            for buffer, was in buffers:
                buffer.copy_(was)
            for generator, state in states:
                generator.set_state(state)

    def step(self, taken: dict[int, Taken], live: Sequence[int], phases: list[StackedPhase]) -> Tensor:
        """Take a step of some jobs, all with the same phases, by `phases`; return the terms of it, (terms, rows).

        All rows are computed. Those of `live` jobs that do not take part are put back as they were.
        """
        rows, learner = self._rows(taken), learner_of(self.jobs[next(iter(taken))])
        found: dict[int, Sequence[Tensor]] = {}
        with torch.no_grad(), self._restored([number for number in live if number not in taken]):
            for each in zip(*taken.values(), strict=True):
                number = each[0][0]
                phases[number].take(dict(zip(rows, (index for _, index in each), strict=True)))
                self._compute_and_move(phases, number, rows)
                found[number] = phases[number].terms
        zero = torch.zeros(len(self.numbers))
        return torch.stack([zero if one is learner.zero else one for one in learner.all_terms(found)])

    def _rows(self, numbers: Iterable[int]) -> dict[int, Phased]:
        return {self.numbers.index(number): learner_of(self.jobs[number]) for number in numbers}

    def _compute_and_move(self, phases: list[StackedPhase], number: int, rows: Mapping[int, Phased]) -> None:
        """Compute a phase of all rows, and move the weights of some."""
        phase = phases[number]
        with self.below:
            phase.compute()
        for row, learner in rows.items():
            phase.hand_over(row)
            for move in learner.moves[number]:
                move()

    # --- many steps in one call -------------------------------------------------------------------------------------

    def serve(self, pending: Mapping[int, StepChunk]) -> bool:
        """Whether steps of these chunks may be taken in one call."""
        return bool(self.stages) and self.many.serve(pending)

    def usual_steps(self, number: int) -> int:
        """Return how many steps of a job come next that have batches of the usual size, within an epoch."""
        job = self.jobs[number]
        if not self.batches:
            return job.total_steps
        feed = feed_of(job)
        feed.begin_when_due()
        return feed.whole_batches // self.batches

    def take(self, pending: Mapping[int, StepChunk], count: int) -> bool:
        """Take `count` steps of some jobs in one call; return False, and take none, where that cannot be."""
        rows, batches = {number: self.numbers.index(number) for number in pending}, count * self.batches
        size = next((phase.index.shape[1] for phase in self.phases if phase.index is not None), 0)
        indices = torch.zeros((count, self.batches, len(self.numbers), size), dtype=torch.long)
        for number, row in rows.items() if batches else ():
            indices[:, :, row] = feed_of(self.jobs[number]).next_indices(batches).view(count, self.batches, size)
        losses = torch.empty((count, sum(len(phase.terms) for phase in self.phases), len(self.numbers)))
        with torch.no_grad():
            if not self.many.take([stage for _, stage in self.stages], pending, indices, losses):
                return False
        for number, row in rows.items():
            feed_of(self.jobs[number]).position += batches
            self.jobs[number].progress.losses.append(losses[:, :, row])
        return True

    def _plain(self, index: Tensor, numbers: Sequence[int]) -> None:
        """Take a step of some jobs on indices (batches, rows, examples)."""
        rows = self._rows(numbers)
        for number, stage in self.stages:
            if stage.index is not None:
                stage.index.copy_(index[stage.batch])
            self._compute_and_move(self.phases, number, rows)


class StackedPhase:
    """A phase of all jobs as operations on their rows."""

    def __init__(self, stack: Stack, first: Recorded, weights: list[list[Tensor]]) -> None:
        """`first` is the recording of the first job, `weights` are those that the phase moves, of each job."""
        self.stack, self.operations, self.weights = stack, stack.operations, weights
        self.calls = [one.call() for one in stack.operations]
        self.index = None if first.index is None else stack.stacked(first.index)
        self.terms = [stack.stacked_of(term) for term in first.terms]
        self.gradients = [[stack.row_of(one, row) for one in first.gradients] for row in range(len(weights))]

    def compute(self) -> None:
        """Compute the terms and gradients of all rows."""
        for call in self.calls:
            call()

    def take(self, indices: Mapping[int, Tensor | None]) -> None:
        """Set the examples of the rows; those of other rows are as good as any."""
        if self.index is not None:
            index = next(iter(indices.values()))
            torch.stack([indices.get(i, index) for i in range(len(self.weights))], out=self.index)  # type: ignore[misc]

    def stage(self, batch: int, column: int, moves: list[list[Callable[[], Any]]]) -> Stage:
        """Return a repetition of the phase as part of a step."""
        return Stage(self.operations, self.index, batch, self.terms, column, self.weights, self.gradients, moves)

    def hand_over(self, row: int) -> None:
        """Put the gradients of a row where its optimizers read them."""
        hand_over(self.weights[row], self.gradients[row])


def last_batch_size(job: Job) -> int:
    """Return the examples of the last batch of an epoch, where it is a smaller one; else 0."""
    return 0 if job.train.drop_last else len(job.parts["train"]) % usual_batch_size(job)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


def learner_of(job: Job) -> Phased:
    assert isinstance(job.learner, Phased), "check that the objective has phases first"
    return job.learner


def feed_of(job: Job) -> Examples:
    assert isinstance(job.feed, Examples), "check that the examples are independent first"
    return job.feed


def batch_of(feed: Examples, index: Tensor | None) -> Batch:
    return Batch({}) if index is None else feed.batch(index)


def _computed(gradients: PhaseGradients, feed: Examples, index: Tensor | None) -> list[Tensor]:
    return gradients(batch_of(feed, index))


def _taken(job: Job) -> Taken:
    return list(learner_of(job).repetitions(feed_of(job).next_index))
