"""When a step is replayed without autograd: taken down once, compared with the plain one, timed against it, chosen.

All of it happens on steps that the training takes anyway, and each moves the weights as the plain step would.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import first_line
from ...lazy import torch
from .. import fallback

if TYPE_CHECKING:
    from torch import Tensor

    from ..learner import Update
    from ..supervised import SupervisedLearner

FIRST = 3
"""Steps before one is taken down: the first ones make what is made once."""
COMPARED = 2
LASTING = 5
"""Steps on batches of another size after which they are taken for what comes from now on."""
TIMED = 12
"""Steps of each way by which the quicker is found."""
SHORTEST = 200
"""Updates below which it does not pay."""
LONGEST = 0.05
"""Seconds of a step from which on the engine's share is too small to look at."""
MOST = 256 * 2**20
"""Bytes that a flat step may keep."""


def traced(learner: SupervisedLearner, gradients: Update) -> Update:
    """The quicker of two ways to the same gradients: the one given, or the same operations replayed.

    What was chosen, and why, is in `learner.way`.
    """
    why = _why_not(learner)
    if why:
        learner.way = {"step": "plain", "because": why}
        return gradients
    return Choosing(learner, gradients)


def _why_not(learner: SupervisedLearner) -> str:
    """What speaks against it from the start; empty where nothing does."""
    device = next(learner.network.parameters()).device.type
    if learner.train.trace is False:
        return "the spec says so"
    if not learner.compute.plain:
        return f"it is {' and '.join(learner.compute.words())}"
    if device != "cpu":
        return f"it is for the CPU, and this is {device}"
    if learner.feed.part.streams:
        return "the training set stays on disk"
    if learner.span.steps - learner.progress.step < SHORTEST and learner.train.trace == "auto":
        return f"{learner.span.steps - learner.progress.step:,} updates are too few"
    return ""


class Choosing:
    """Leaves the gradients with the weights, as the way that it stands for does, and finds the quicker one."""

    def __init__(self, learner: SupervisedLearner, plain: Update) -> None:
        self.learner, self.plain = learner, plain
        self.network, self.must = learner.network, learner.train.trace is True
        self.params = [p for p in learner.network.parameters() if p.requires_grad]
        self.flat: Callable[..., tuple[Any, ...]] | None = None
        self.generators: list[torch.Generator] = []
        self.size = learner.train.per_update(len(learner.feed.part))
        self.others = 0
        self.times: dict[bool, list[float]] = {True: [], False: []}
        self.script = self._script()
        self.now: Update = self._unsettled
        learner.way = {"step": "plain", "because": "the training is too short to tell"}

    def __call__(self, index: Tensor) -> Tensor:
        if len(index) == self.size:
            self.others = 0
            return self.now(index)
        self.others += 1
        if self.others == LASTING and self.now != self.plain:  # batches have another size from here on
            self.size, self.others, self.script, self.now = len(index), 0, self._script(), self._unsettled
        return self.plain(index)

    def _unsettled(self, index: Tensor) -> Tensor:
        return next(self.script)(index)

    def _script(self) -> Iterator[Update]:
        self.times = {True: [], False: []}
        for _ in range(FIRST):
            yield lambda index: self._timed(self.plain, index, False)
        if min(self.times[False]) > LONGEST and not self.must:
            yield self._settle("plain", f"a step of {min(self.times[False]) * 1e3:.0f} ms is long")
        yield self._taken_down
        for _ in range(COMPARED):
            yield self._compared
        self.times = {True: [], False: []}
        for _ in range(TIMED):
            yield lambda index: self._timed(self.plain, index, False)
            yield lambda index: self._timed(self._replayed, index, True)
        plain, replayed = (statistics.median(self.times[way]) for way in (False, True))
        ratio = round(replayed / plain, 3)
        if ratio < 1 or self.must:
            yield self._settle("replayed", f"{ratio} of the time of a plain one")
        yield self._settle("plain", f"replayed it took {ratio} of the time")

    def _settle(self, way: str, because: str) -> Update:
        """Stay with a way."""
        self.learner.way = {"step": way, "because": because}
        self.now = self._replayed if way == "replayed" else self.plain
        if way == "plain":
            self.flat = None
        return self.now

    def _timed(self, way: Update, index: Tensor, replayed: bool) -> Tensor:
        # one thread is asked for its own time: what else runs on the machine is no part of it
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        loss = way(index)
        self.times[replayed].append(clock() - began)
        return loss

    def _taken_down(self, index: Tensor) -> Tensor:
        """A plain step, of which the operations are kept."""
        own, before = index.clone(), fallback.Before(self.network)
        try:
            from . import tape

            calls, loss = tape.record(lambda: self.plain(own))
        except Exception as error:  # noqa: BLE001 - an error of the plain step itself comes again
            before.bring_back()
            return self._fall_back(error)(index)
        try:
            self.generators = tape.generators(calls)
            kept = tape.memory(calls)
            if kept > MOST:
                self._settle("plain", f"replayed it would keep {kept // 2**20:,} MiB")
                return loss  # type: ignore[no-any-return]
            self.flat = tape.flatten(calls, {"index": own}, [loss, *(p.grad for p in self.params)])
        except fallback.UntraceableError as error:
            self._settle("plain", str(error))
        except Exception as error:  # noqa: BLE001
            self._fall_back(error)
        return loss.clone()  # type: ignore[no-any-return] # the flat step writes to this memory again

    def _fall_back(self, error: Exception) -> Update:
        """Stay with the plain step, and say what went wrong with the other."""
        return self._settle("plain", fallback.note([self.learner.faults], fallback.STEP, error))

    def _replayed(self, index: Tensor) -> Tensor:
        assert self.flat is not None
        loss, *gradients = self.flat(index)
        for param, gradient in zip(self.params, gradients, strict=True):
            param.grad = gradient
        return loss.clone()  # type: ignore[no-any-return]

    def _compared(self, index: Tensor) -> Tensor:
        """Both ways from the same start: the plain one stands."""
        try:
            with fallback.Before(self.network, self.generators):
                found = [self._replayed(index), *self._gradients(), *self._state()]
        except Exception as error:  # noqa: BLE001
            self._fall_back(error)
            self._settle("plain", f"replayed it fails: {first_line(error)}")
            return self.plain(index)
        loss = self.plain(index)
        wanted = [loss, *self._gradients(), *self._state()]
        if not all(map(_same, found, wanted)):
            self._settle("plain", "replayed it gave other figures")
        return loss

    def _gradients(self) -> list[Tensor | None]:
        return [None if p.grad is None else p.grad.clone() for p in self.params]

    def _state(self) -> list[Tensor]:
        """Copies of what a step before the optimizer's may change: buffers and random generators."""
        chance = [torch.get_rng_state(), *(g.get_state() for g in self.generators)]
        return [*(b.clone() for b in self.network.buffers()), *chance]


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """The same bits; a NaN is like a NaN."""
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True) if one.is_floating_point() else one.equal(other)
