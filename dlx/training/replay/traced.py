"""Choice between the plain step and a replayed one: recorded once, compared bit for bit, timed, and the faster is
kept.

All of it happens in updates that the training takes anyway, and each changes the weights as the plain step would.
"""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import first_line
from ...lazy import torch
from .. import fallback

if TYPE_CHECKING:
    from torch import Tensor

    from ..learner import Learner, Update
    from ..supervised import SupervisedLearner
    from .tape import RecordedCall, Values

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
    why = why_not(learner) or _why_not_by_index(learner)
    if why:
        learner.way = {"step": "plain", "because": why}
        return gradients
    return StepChooser(learner, gradients)


def why_not(learner: Learner) -> str:
    """Return why a step cannot be replayed, or would not gain; an empty string where it is to be tried."""
    if learner.train.trace is False:
        return "the spec says so"
    if not learner.compute.is_plain:
        return f"it is {' and '.join(learner.compute.description())}"
    if learner.compute.device.type != "cpu":
        return f"it is for the CPU, and this is {learner.compute.device.type}"
    left = learner.span.steps - learner.progress.step
    if left < MIN_UPDATES and learner.train.trace == "auto":
        return f"{left:,} updates are too few"
    return ""


def _why_not_by_index(learner: SupervisedLearner) -> str:
    """Return the same about what a network with targets takes."""
    if learner.objective.mixes_inputs:
        return "the network draws a part of what it sees"
    return "the training set stays on disk" if learner.feed.part.streams else ""


@dataclass(frozen=True)
class Recording:
    """Calls of a step with its inputs, losses and gradients."""

    calls: list[RecordedCall]
    inputs: Values
    losses: list[Tensor]
    gradients: list[Tensor | None]


class Chooser(ABC):
    """Computes losses and gradients by the plain step or the replayed one, and finds which is quicker on the way.

    `plain` takes what a step is about, and leaves the gradients of `params` in their `grad`.
    """

    keeps_recording: ClassVar[bool] = False

    def __init__(self, learner: Learner, plain: Callable[[Any], Any], params: list[Tensor], size: Any = None) -> None:
        """`size` is the usual size of a step, as `size_of` has it; None for that of the first one."""
        self.learner, self.plain, self.params, self.size = learner, plain, params, size
        self.network, self.forced = learner.module, learner.train.trace is True
        self.flat: Callable[..., tuple[Any, ...]] | None = None
        self.recording: Recording | None = None
        """What `flat` repeats, where somebody asks for it (`keeps_recording`)."""
        self.is_chosen = False
        """Whether all further steps of the usual size are replayed."""
        self.generators: list[torch.Generator] = []
        self.count = 0
        """Losses of a step."""
        self.other_sizes = 0
        self.times: dict[bool, list[float]] = {True: [], False: []}
        self.trial_steps = self._trial_steps()
        self.current: Callable[[Any], Any] = self._measuring
        self.note("plain", "the training is too short to tell")

    @abstractmethod
    def note(self, way: str, because: str) -> None:
        """Set what the lock file says of this step."""

    @abstractmethod
    def size_of(self, what: Any) -> Any:
        """Return what has to be equal for two steps to run the same operations."""

    @abstractmethod
    def own(self, what: Any) -> Any:
        """Return a copy for the recording, on memory that nothing else writes to."""

    @abstractmethod
    def tensors(self, what: Any) -> Values:
        """Return the tensors that differ from step to step. UntraceableError where there is more than those."""

    @abstractmethod
    def losses(self, result: Any) -> list[Tensor]:
        """Return the losses in a result of `plain`."""

    @abstractmethod
    def result(self, losses: Sequence[Tensor]) -> Any:
        """Return the losses of a replayed step as a result; the next replayed step writes to their memory."""

    def __call__(self, what: Any) -> Any:
        size = self.size_of(what)
        if self.size is None:
            self.size = size
        if size == self.size:
            self.other_sizes = 0
            return self.current(what)
        self.other_sizes += 1
        if self.other_sizes == RESIZED_STEPS and self.current != self.plain:
            # a recorded step is bound to its shapes: what is the usual size from here on is recorded anew
            self.size, self.other_sizes, self.is_chosen = size, 0, False
            self.trial_steps, self.current = self._trial_steps(), self._measuring
        return self.plain(what)  # the last batch of an epoch, which is smaller, never pays for a recording

    def _measuring(self, what: Any) -> Any:
        return next(self.trial_steps)(what)

    def _trial_steps(self) -> Iterator[Callable[[Any], Any]]:
        """Yield the function that takes each of the next steps, until one is chosen for good."""
        self.times = {True: [], False: []}
        for _ in range(WARMUP_STEPS):
            yield lambda what: self._timed(self.plain, what, False)
        if min(self.times[False]) > MAX_STEP_SECONDS and not self.forced:
            yield self._choose("plain", f"a step of {min(self.times[False]) * 1e3:.0f} ms is long")
        yield self._record
        for _ in range(COMPARED_STEPS):
            yield self._compared
        self.times = {True: [], False: []}
        for _ in range(TIMED_STEPS):
            # in turns, so that other work on the machine slows both alike
            yield lambda what: self._timed(self.plain, what, False)
            yield lambda what: self._timed(self._replayed, what, True)
        plain, replayed = (statistics.median(self.times[way]) for way in (False, True))
        ratio = round(replayed / plain, 3)
        if ratio < 1 or self.forced:
            yield self._choose("replayed", f"{ratio} of the time of a plain one")
        yield self._choose("plain", f"replayed it took {ratio} of the time")

    def _choose(self, way: str, because: str) -> Callable[[Any], Any]:
        """Take all further steps in one way; `because` is for the lock file."""
        self.note(way, because)
        self.current = self._replayed if way == "replayed" else self.plain
        self.is_chosen = way == "replayed"
        if way == "plain":
            self.flat = self.recording = None
        return self.current

    def _timed(self, way: Callable[[Any], Any], what: Any, replayed: bool) -> Any:
        # on one thread its own processor time, of which other programs are no part; several threads do not add up so
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        result = way(what)
        self.times[replayed].append(clock() - began)
        return result

    def _record(self, what: Any) -> Any:
        """Take a plain step and record its operations."""
        before = fallback.Rollback(self.network)
        try:
            from . import flat_step, tape

            own = self.own(what)
            calls, result = tape.record(lambda: self.plain(own))
        except Exception as error:  # noqa: BLE001 - an error of the plain step itself comes again
            # the step may have failed half way: without this, buffers and generators would be a step ahead in the
            # retry
            before.restore()
            return self._fall_back(error)(what)
        try:
            self.generators = tape.generators(calls)
            size = tape.memory(calls)
            if size > MAX_BYTES:
                self._choose("plain", f"replayed it would keep {size // 2**20:,} MiB")
                return result
            self.count = len(self.losses(result))
            inputs, losses, gradients = self.tensors(own), self.losses(result), [p.grad for p in self.params]
            self.flat = flat_step.flatten(calls, inputs, [*losses, *gradients])
            self.recording = Recording(calls, inputs, losses, gradients) if self.keeps_recording else None
        except fallback.UntraceableError as error:
            self._choose("plain", str(error))
        except Exception as error:  # noqa: BLE001
            self._fall_back(error)
        return self.result(self.losses(result))  # the flat step writes to this memory again

    def _fall_back(self, error: Exception) -> Callable[[Any], Any]:
        """Take plain steps from here on, and note the failure of the replayed one."""
        return self._choose("plain", fallback.note([self.learner.faults], fallback.STEP, error))

    @property
    def seconds(self) -> float:
        """Median time of the replayed steps that were timed."""
        return statistics.median(self.times[True])

    def _replayed(self, what: Any) -> Any:
        assert self.flat is not None
        found = self.flat(*self.tensors(what).values())
        for param, gradient in zip(self.params, found[self.count :], strict=True):
            param.grad = gradient
        return self.result(found[: self.count])

    def _compared(self, what: Any) -> Any:
        """Take a step both ways from the same state; the plain one counts, whatever the comparison gives."""
        try:
            with fallback.Rollback(self.network, self.generators):
                replayed = [*self.losses(self._replayed(what)), *self._gradients(), *self._state()]
        except Exception as error:  # noqa: BLE001
            self._fall_back(error)
            self._choose("plain", f"replayed it fails: {first_line(error)}")
            return self.plain(what)
        result = self.plain(what)
        expected = [*self.losses(result), *self._gradients(), *self._state()]
        if not all(map(_same, replayed, expected)):
            self._choose("plain", "replayed it gave other figures")
        return result

    def _gradients(self) -> list[Tensor | None]:
        return [None if p.grad is None else p.grad.clone() for p in self.params]

    def _state(self) -> list[Tensor]:
        """Return copies of what the step changes before the optimizer: buffers and random generators."""
        rng_states = [torch.get_rng_state(), *(g.get_state() for g in self.generators)]
        return [*(b.clone() for b in self.network.buffers()), *rng_states]


class StepChooser(Chooser):
    """Chooser of the step of one network with targets, which takes the indices of its examples."""

    learner: SupervisedLearner
    keeps_recording = True

    def __init__(self, learner: SupervisedLearner, plain: Update) -> None:
        params: list[Tensor] = [p for p in learner.network.parameters() if p.requires_grad]
        super().__init__(learner, plain, params, learner.train.per_update(len(learner.feed.part)))

    def note(self, way: str, because: str) -> None:
        self.learner.way = {"step": way, "because": because}

    def size_of(self, what: Tensor) -> int:
        return len(what)

    def own(self, what: Tensor) -> Tensor:
        return what.clone()

    def tensors(self, what: Tensor) -> Values:
        return {"index": what}

    def losses(self, result: Tensor) -> list[Tensor]:
        return [result]

    def result(self, losses: Sequence[Tensor]) -> Tensor:
        return losses[0].clone()


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors are equal; NaNs count as equal."""
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True) if one.is_floating_point() else one.equal(other)
