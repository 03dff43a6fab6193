"""Choice between the plain step and a replayed one: recorded once, compared bit for bit, timed, and the faster is
kept.

All of it happens in updates that the training takes anyway, and each changes the weights as the plain step would.
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

WARMUP_STEPS = 3
"""Plain steps before one is recorded: the first ones allocate, and create what later steps find."""
COMPARED_STEPS = 2
"""Steps taken both ways, which must agree to the last bit."""
RESIZED_STEPS = 5
"""Steps in a row on batches of another size after which that is taken for the usual size (`batch_schedule`)."""
TIMED_STEPS = 12
"""Steps timed of each kind."""
MIN_UPDATES = 200
"""Updates of a training below which replaying does not pay."""
MAX_STEP_SECONDS = 0.05
"""Time of a step above which the share of autograd's engine is too small to gain from."""
MAX_BYTES = 256 * 2**20
"""Memory that a recorded step may keep between steps."""


def traced(learner: SupervisedLearner, gradients: Update) -> Update:
    """Return a function with the results of `gradients` that replays its operations where that is faster.

    The choice and its reason are in `learner.way`.
    """
    why = _why_not(learner)
    if why:
        learner.way = {"step": "plain", "because": why}
        return gradients
    return StepChooser(learner, gradients)


def _why_not(learner: SupervisedLearner) -> str:
    """Return why the step cannot be replayed, or would not gain; an empty string where it is to be tried."""
    device = next(learner.network.parameters()).device.type
    if learner.train.trace is False:
        return "the spec says so"
    if not learner.compute.is_plain:
        return f"it is {' and '.join(learner.compute.description())}"
    if device != "cpu":
        return f"it is for the CPU, and this is {device}"
    if learner.feed.part.streams or learner.objective.mixes_inputs:
        mixed = "the network draws a part of what it sees"
        return mixed if learner.objective.mixes_inputs else "the training set stays on disk"
    if learner.span.steps - learner.progress.step < MIN_UPDATES and learner.train.trace == "auto":
        return f"{learner.span.steps - learner.progress.step:,} updates are too few"
    return ""


class StepChooser:
    """Computes loss and gradients by the plain step or the replayed one, and finds which is faster on the way."""

    def __init__(self, learner: SupervisedLearner, plain: Update) -> None:
        self.learner, self.plain = learner, plain
        self.network, self.forced = learner.network, learner.train.trace is True
        self.params = [p for p in learner.network.parameters() if p.requires_grad]
        self.flat: Callable[..., tuple[Any, ...]] | None = None
        self.generators: list[torch.Generator] = []
        self.size = learner.train.per_update(len(learner.feed.part))
        self.other_sizes = 0
        self.times: dict[bool, list[float]] = {True: [], False: []}
        self.trial_steps = self._trial_steps()
        self.current: Update = self._measuring
        learner.way = {"step": "plain", "because": "the training is too short to tell"}

    def __call__(self, index: Tensor) -> Tensor:
        if len(index) == self.size:
            self.other_sizes = 0
            return self.current(index)
        self.other_sizes += 1
        if self.other_sizes == RESIZED_STEPS and self.current != self.plain:
            # a recorded step is bound to its shapes: what is the usual size from here on is recorded anew
            self.size, self.other_sizes = len(index), 0
            self.trial_steps, self.current = self._trial_steps(), self._measuring
        return self.plain(index)  # the last batch of an epoch, which is smaller, never pays for a recording

    def _measuring(self, index: Tensor) -> Tensor:
        return next(self.trial_steps)(index)

    def _trial_steps(self) -> Iterator[Update]:
        """Yield the function that takes each of the next steps, until one is chosen for good."""
        self.times = {True: [], False: []}
        for _ in range(WARMUP_STEPS):
            yield lambda index: self._timed(self.plain, index, False)
        if min(self.times[False]) > MAX_STEP_SECONDS and not self.forced:
            yield self._choose("plain", f"a step of {min(self.times[False]) * 1e3:.0f} ms is long")
        yield self._record
        for _ in range(COMPARED_STEPS):
            yield self._compared
        self.times = {True: [], False: []}
        for _ in range(TIMED_STEPS):
            # in turns, so that other work on the machine slows both alike
            yield lambda index: self._timed(self.plain, index, False)
            yield lambda index: self._timed(self._replayed, index, True)
        plain, replayed = (statistics.median(self.times[way]) for way in (False, True))
        ratio = round(replayed / plain, 3)
        if ratio < 1 or self.forced:
            yield self._choose("replayed", f"{ratio} of the time of a plain one")
        yield self._choose("plain", f"replayed it took {ratio} of the time")

    def _choose(self, way: str, because: str) -> Update:
        """Take all further steps in one way; `because` is for the lock file."""
        self.learner.way = {"step": way, "because": because}
        self.current = self._replayed if way == "replayed" else self.plain
        if way == "plain":
            self.flat = None
        return self.current

    def _timed(self, way: Update, index: Tensor, replayed: bool) -> Tensor:
        # on one thread its own processor time, of which other programs are no part; several threads do not add up so
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        loss = way(index)
        self.times[replayed].append(clock() - began)
        return loss

    def _record(self, index: Tensor) -> Tensor:
        """Take a plain step and record its operations."""
        # the recorded function takes its indices by this tensor, so it must be memory that nothing else writes to
        own, before = index.clone(), fallback.Rollback(self.network)
        try:
            from . import tape

            calls, loss = tape.record(lambda: self.plain(own))
        except Exception as error:  # noqa: BLE001 - an error of the plain step itself comes again
            # the step may have failed half way: without this, buffers and generators would be a step ahead in the
            # retry
            before.restore()
            return self._fall_back(error)(index)
        try:
            self.generators = tape.generators(calls)
            size = tape.memory(calls)
            if size > MAX_BYTES:
                self._choose("plain", f"replayed it would keep {size // 2**20:,} MiB")
                return loss  # type: ignore[no-any-return]
            self.flat = tape.flatten(calls, {"index": own}, [loss, *(p.grad for p in self.params)])
        except fallback.UntraceableError as error:
            self._choose("plain", str(error))
        except Exception as error:  # noqa: BLE001
            self._fall_back(error)
        return loss.clone()  # type: ignore[no-any-return] # the flat step writes to this memory again

    def _fall_back(self, error: Exception) -> Update:
        """Take plain steps from here on, and note the failure of the replayed one."""
        return self._choose("plain", fallback.note([self.learner.faults], fallback.STEP, error))

    def _replayed(self, index: Tensor) -> Tensor:
        assert self.flat is not None
        loss, *gradients = self.flat(index)
        for param, gradient in zip(self.params, gradients, strict=True):
            param.grad = gradient
        return loss.clone()  # type: ignore[no-any-return]

    def _compared(self, index: Tensor) -> Tensor:
        """Take a step both ways from the same state; the plain one counts, whatever the comparison gives."""
        try:
            with fallback.Rollback(self.network, self.generators):
                replayed = [self._replayed(index), *self._gradients(), *self._state()]
        except Exception as error:  # noqa: BLE001
            self._fall_back(error)
            self._choose("plain", f"replayed it fails: {first_line(error)}")
            return self.plain(index)
        loss = self.plain(index)
        expected = [loss, *self._gradients(), *self._state()]
        if not all(map(_same, replayed, expected)):
            self._choose("plain", "replayed it gave other figures")
        return loss

    def _gradients(self) -> list[Tensor | None]:
        return [None if p.grad is None else p.grad.clone() for p in self.params]

    def _state(self) -> list[Tensor]:
        """Return copies of what the step changes before the optimizer: buffers and random generators."""
        rng_states = [torch.get_rng_state(), *(g.get_state() for g in self.generators)]
        return [*(b.clone() for b in self.network.buffers()), *rng_states]


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors are equal; NaNs count as equal."""
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True) if one.is_floating_point() else one.equal(other)
