"""Update of one network by its gradients; of replayed steps many at once, in one call without Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from ..fallback import UntraceableError
from .traced import Recording, StepChooser

if TYPE_CHECKING:
    from torch import Tensor

    from ..batches.step_chunk import StepChunk
    from ..learner import Learner, Update
    from ..packed.many_steps import ManySteps, Stage

MIN_STEPS = 500
"""Steps that have to remain for a script of them to pay: to compile and check it takes some 30 ms, and each step of a
small network is some 40 us shorter by it."""
MIN_AT_ONCE = 2
"""Steps of a call: with one alone the call costs as much as it saves."""
MAX_SECONDS = 1e-3
"""Time of a replayed step above which Python's part of it is too small to gain from."""


class GradientUpdate:
    """Computes gradients, plainly or replayed, and lets the optimizer move the weights by them."""

    def __init__(self, learner: Learner, gradients: Update, step: Callable[[], Any]) -> None:
        self.learner, self.gradients, self.step = learner, gradients, step
        self.many: ManySteps | None = None
        """The steps of the recording that is replayed now; None where each is taken by itself."""
        self.stages: list[Stage] = []

    def __call__(self, index: Tensor) -> Tensor:
        loss = self.gradients(index)
        self.step()
        return loss

    def take(self, chunk: StepChunk) -> bool:
        """Take all steps of a chunk at once; False, with none taken, where each has to be taken by itself."""
        chooser = self.gradients
        if not isinstance(chooser, StepChooser) or chunk.remaining < MIN_AT_ONCE:
            return False
        if not chooser.is_chosen or chunk.index.shape[1] != chooser.size:
            return False
        if chooser.recording is not None:
            # it holds all memory of the step, which a replayed one may free
            recording, chooser.recording = chooser.recording, None
            self.many = self._built(chooser, recording, chunk)
        if self.many is None or not self.many.serve({0: chunk}):
            return False
        indices = chunk.index[chunk.done :, None, None]
        losses = self.stages[0].terms[0].new_empty((len(indices), 1, 1))
        with torch.no_grad():
            if not self.many.take(self.stages, {0: chunk}, indices, losses):
                self.many = None
                return False
        chooser.other_sizes = 0  # these steps were of the usual size
        chunk.progress.losses.append(losses.view(-1))
        return True

    def _built(self, chooser: StepChooser, found: Recording, chunk: StepChunk) -> ManySteps | None:
        """Return the steps of a recording as one script; None where it would not pay, or cannot be."""
        job = chunk.job
        pays = job.total_steps - job.progress.step >= MIN_STEPS and chooser.seconds < MAX_SECONDS
        if not (pays or chooser.forced):
            return None
        from ..packed.many_steps import ManySteps, Stage
        from .operations import of_tape

        try:
            operations, resolve = of_tape(found.calls, found.inputs)
        except UntraceableError:  # images in oneDNN's layout have no memory that stays
            return None
        (loss,), gradients = found.losses, [None if g is None else resolve(g).detach() for g in found.gradients]
        loss, index = resolve(loss).detach().view(1), found.inputs["index"]
        self.stages = [
            Stage(operations, index[None], 0, [loss], 0, [chooser.params], [gradients], [[self.step]]),
        ]

        def plain(indices: Tensor, _: Sequence[int]) -> None:
            with torch.enable_grad():
                result = chooser.plain(indices[0, 0])
            loss.copy_(result)
            self.step()

        generators = [torch.default_generator, *chooser.generators]
        return ManySteps({0: job}, generators, plain, [loss, *self._state()])

    def _state(self) -> list[Tensor]:
        """Return all that a step changes, where it lies."""
        module, optimizers = self.learner.module, self.learner.optimizers.values()
        states = [state for one in optimizers for state in one.optimizer.state.values()]
        held = [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
        return [*module.parameters(), *module.buffers(), *held]
