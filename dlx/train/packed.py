"""Several trainings side by side: networks of one shape move together, as one stacked network.

Each has its own weights, data order, random numbers, rates, evaluations and checkpoints, and its records are those
that it would give alone, to the precision of a float: a product of stacked matrices may add in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..lazy import torch
from .fit import Job, Record, walked
from .update import Update, gradients_of, step_of

if TYPE_CHECKING:
    from torch import Tensor

Event = Record | DlxError
MOST = 2**30
"""Bytes that all steps of a stack may keep."""
HALF = 0.5
"""The part of the rows that still learn below which they are stacked anew."""


def fit_together(jobs: list[Job]) -> Iterator[tuple[int, Event]]:
    """The records of several jobs, each with its number; an error ends one of them and is given as its last event."""
    pack = Pack(jobs)
    walks = {number: walked(job) for number, job in enumerate(jobs)}
    losses: dict[int, Tensor | None] = dict.fromkeys(walks)
    while walks:
        turns: dict[int, Tensor] = {}
        for number in list(walks):
            for event in _until_turn(walks[number], losses[number]):
                if event is None:
                    del walks[number]
                elif isinstance(event, torch.Tensor):
                    turns[number] = event
                else:
                    yield number, event
                    if isinstance(event, DlxError):
                        del walks[number]
        losses = dict(pack.update(turns)) if turns else {}


def _until_turn(walk: Any, loss: Tensor | None) -> Iterator[Event | Tensor | None]:
    """What a walk gives up to its next turn: records, then the examples, or None at its end, or what ended it."""
    try:
        while not isinstance(event := walk.send(loss), torch.Tensor):
            loss = None
            yield event
        yield event
    except StopIteration:
        yield None
    except DlxError as error:
        yield error


class Pack:
    """What moves the weights of several jobs: stacked on batches of the usual size, one by one on others.

    Which of the two depends on nothing but the batch, so that a run that goes on later takes the steps it would have.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.alone: list[Update] = [gradients_of(job) for job in jobs]
        self.steps: list[Callable[[], Any]] = [step_of(job) for job in jobs]
        for job in jobs:
            job.way = {"step": "plain", "because": "no batch was of the usual size"}
            if job.chance is None:
                job.remember_chance()
        self.chance = [job.chance for job in jobs if job.chance is not None]
        self.rows: Rows | None = None
        self.refused = ""

    @contextmanager
    def chance_of(self, number: int) -> Iterator[None]:
        """torch draws as this job would alone."""
        torch.set_rng_state(self.chance[number].get_state())
        try:
            yield
        finally:
            self.chance[number].set_state(torch.get_rng_state())

    def update(self, turns: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Move the weights of the jobs that have a turn; their losses."""
        if self.rows is not None and len(turns) <= HALF * len(self.rows.numbers):
            self._unstack(list(turns))  # many have ended: a smaller stack pays
        usual = all(len(index) == _usual(self.jobs[number]) for number, index in turns.items())
        if usual and self.rows is None and not self.refused:
            self._stack(turns)
        if usual and self.rows is not None and turns.keys() <= set(self.rows.numbers):
            yield from self._stacked(self.rows, turns)
        else:
            yield from self._one_by_one(turns)

    def _one_by_one(self, turns: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        for number, index in turns.items():
            with self.chance_of(number):
                loss = self.alone[number](index)
                self.steps[number]()
            yield number, loss

    def _stacked(self, rows: Rows, turns: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
        losses = rows.run(turns)
        for number in turns:
            self.steps[number]()
            yield number, losses[rows.numbers.index(number)]

    def _stack(self, turns: dict[int, Tensor]) -> None:
        """Take down a step of each, as if it had not been taken, and put the networks into rows."""
        from . import tape

        tapes, own, losses = [], [], []
        for number, index in turns.items():
            own.append(index.clone())
            with self.chance_of(number), tape.taken_back(self.jobs[number].network):
                calls, loss = tape.record(partial(self.alone[number], own[-1]))
            tapes.append(calls)
            losses.append(loss)
        kept = sum(map(tape.memory, tapes))
        try:
            jobs = {number: self.jobs[number] for number in turns}
            self.rows = Rows(jobs, tapes, own, losses, self.chance) if kept <= MOST else None
            self.refused = "" if self.rows is not None else f"stacked they would keep {kept // 2**20:,} MiB"
        except tape.UntraceableError as error:
            self.refused = str(error)
        packed = {"step": "packed", "because": f"{len(turns)} of one shape"}
        for number in turns:
            self.jobs[number].way = {"step": "plain", "because": self.refused} if self.refused else packed

    def _unstack(self, numbers: list[int]) -> None:
        """Weights have memory of their own again."""
        self.rows = None
        for number in numbers:
            for tensor in _held(self.jobs[number]):
                tensor.data = tensor.detach().clone()


class Rows:
    """Jobs whose weights are rows of stacked tensors."""

    def __init__(
        self,
        jobs: dict[int, Job],
        tapes: list[list[Any]],
        own: list[Tensor],
        losses: list[Tensor],
        chance: list[torch.Generator],
    ) -> None:
        from .stack import Stack

        self.numbers = list(jobs)
        first = [t.detach() for t in _held(next(iter(jobs.values())))]
        stack = Stack(tapes, [{"index": index} for index in own], [chance[n] for n in jobs], first)
        self.runs, self.no_grad = stack.runs, torch.no_grad()
        self.index, self.losses = stack.wide(own[0]), stack.wide_of(losses[0])
        self.params = [_learning(job) for job in jobs.values()]
        self.gradients = [[stack.row_of(p.grad, i) for p in self.params[0]] for i in range(len(jobs))]
        for i, job in enumerate(jobs.values()):
            for tensor, place in zip(_held(job), [stack.row_if(t, i) for t in first], strict=True):
                if place is not None:
                    tensor.data = place

    def run(self, turns: dict[int, Tensor]) -> tuple[Tensor, ...]:
        """The gradients of all, and their losses. A row that has ended computes on and is not looked at."""
        with self.no_grad:
            for row, number in enumerate(self.numbers):
                if number in turns:
                    self.index[row].copy_(turns[number])
                    for p, gradient in zip(self.params[row], self.gradients[row], strict=True):
                        p.grad = gradient
            for run in self.runs:
                run()
            return self.losses.clone().unbind()


def _learning(job: Job) -> list[Tensor]:
    return [p for p in job.network.parameters() if p.requires_grad]


def _held(job: Job) -> list[Tensor]:
    return [*job.network.parameters(), *job.network.buffers()]


def _usual(job: Job) -> int:
    return job.train.per_update(len(job.parts["train"]))
