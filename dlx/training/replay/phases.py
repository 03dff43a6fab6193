"""Choice between the plain step of a phase and a replayed one, for each phase by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...data.batch import Batch
from ...lazy import torch
from ...objectives import Objective
from .. import fallback
from .traced import Chooser, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from ..phase_gradients import PhaseGradients
    from ..phased import Phased
    from .tape import Values


def traced_phase(learner: Phased, gradients: PhaseGradients) -> Callable[[Batch], Sequence[Tensor]]:
    """Return a function with the results of `gradients` that replays its operations where that is quicker.

    The choice and its reason are in `learner.ways`.
    """
    why = why_not(learner) or keeps_state(learner.objective)
    if why:
        learner.note_way(gradients.phase.name, "plain", why)
        return gradients
    return PhaseChooser(learner, gradients)


def keeps_state(objective: Objective) -> str:
    """Return a reason where steps keep something for later ones: which of it they take may differ each time."""
    if type(objective).state is Objective.state:
        return ""
    return f"`{objective.kind}` keeps a state from step to step"


class PhaseChooser(Chooser):
    """Chooser of the step of a phase, which takes a batch."""

    learner: Phased

    def __init__(self, learner: Phased, plain: PhaseGradients) -> None:
        self.phase = plain.phase.name
        super().__init__(learner, plain, plain.weights)

    def note(self, way: str, because: str) -> None:
        self.learner.note_way(self.phase, way, because)

    def size_of(self, what: Batch) -> Any:
        """Return how each field lies in memory: more than its shape, for a recorded step reads it as it lay."""
        return [_form(value) for value in what.fields.values()]

    def own(self, what: Batch) -> Batch:
        return Batch({name: value.clone() for name, value in what.fields.items()}, what.carried, what.names)

    def tensors(self, what: Batch) -> Values:
        if not all(isinstance(value, torch.Tensor) for value in what.fields.values()):
            raise fallback.UntraceableError("it has fields that are no tensors")
        return {f"field_{i}": value for i, value in enumerate(what.fields.values())}

    def losses(self, result: list[Tensor]) -> list[Tensor]:
        return result

    def result(self, losses: Sequence[Tensor]) -> Sequence[Tensor]:
        return losses

    def _record(self, what: Batch) -> Any:
        before = dict(what.carried)
        result = super()._record(what)
        if any(before.get(name) is not value for name, value in what.carried.items()):
            self._choose("plain", "it passes values on to the next batch")
        return result


def _form(value: Any) -> Any:
    return (value.shape, value.stride(), value.dtype) if isinstance(value, torch.Tensor) else type(value)
