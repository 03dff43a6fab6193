"""How far a training is: its step, the losses not yet written, when it stops, and the random generators."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..lazy import np, torch
from .early_stopping import Stopping

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Progress:
    """How far a training is. `state()` and `load()` are the whole of it."""

    step: int = 0
    until: int | None = None
    """The step at which to halt, to go on later; the schedule knows nothing of it."""
    loss: float = math.nan
    """The last point of the loss curve."""
    losses: list[Tensor] = field(default_factory=list)
    """Losses since that point, on the device, one or several in a tensor."""
    marks: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    """Where points of the curve belong that are not written yet: step, epoch, and the learning rates there."""
    stopping: Stopping | None = None
    own_random: torch.Generator | None = None
    """What torch draws for this training, where it is one of several in a process; else torch's own generator."""
    host_random: dict[str, Any] | None = None
    """The generators of Python and NumPy beside `own_random`, from which no training draws."""
    tables: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)
    """By part of the data, what its last evaluation gave beside numbers."""
    metric_notes: dict[str, dict[str, str]] = field(default_factory=dict)
    """By part of the data and metric, what its last evaluation left out."""

    @property
    def is_far_enough(self) -> bool:
        """Whether it has come to where it is to halt."""
        return self.until is not None and self.step >= self.until

    def keep_own_random(self) -> None:
        """Save the state of the global generator, to restore it after other trainings have drawn from it."""
        self.own_random = torch.Generator()
        self.own_random.set_state(torch.get_rng_state())
        self.host_random = host_random()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "step": self.step,
            "loss": self.loss,
            "losses": torch.cat([loss.reshape(-1) for loss in self.losses]) if self.losses else None,
            "stopping": self.stopping.state() if self.stopping is not None else None,
            "random": {
                **(self.host_random or host_random()),
                "torch": torch.get_rng_state() if self.own_random is None else self.own_random.get_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,  # type: ignore[no-untyped-call]
            },
        }

    def load(self, state: Mapping[str, Any], network: nn.Module) -> None:
        """Go on from a state, with losses and weights on the device of `network`."""
        self.step, self.loss = state["step"], state["loss"]
        device = next(iter(network.parameters())).device
        self.losses[:] = [state["losses"].to(device)] if state["losses"] is not None else []
        if self.stopping is not None:
            self.stopping.restore(state["stopping"], network)
        drawn = state["random"]
        random.setstate(drawn["python"])
        if drawn["numpy"] is not None:
            np.random.set_state(drawn["numpy"])
        torch.set_rng_state(drawn["torch"])
        if drawn["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(drawn["cuda"])


def host_random() -> dict[str, Any]:
    """The states of Python's generator and of NumPy's."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=True) if "numpy" in sys.modules else None,
    }
