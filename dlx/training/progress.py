"""Progress of a training: its step, the losses not yet written, early stopping, and the random generators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..lazy import torch
from . import random_generators
from .early_stopping import EarlyStoppingState

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Progress:
    """Progress of a training. `state()` and `load()` are the whole of it."""

    step: int = 0
    until: int | None = None
    """Step at which to halt, to go on later; None for the end. The schedule does not depend on it."""
    interrupted: bool = False
    """Whether it halts because of Ctrl-C."""
    loss: float = math.nan
    """The last point of the loss curve."""
    losses: list[Tensor] = field(default_factory=list)
    """Losses since that point, on the device, one or several a tensor."""
    pending_points: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    """Points of the curve that are not written yet: step, epoch, and the learning rates of that step."""
    stopping: EarlyStoppingState | None = None
    rng: torch.Generator | None = None
    """This training's generator in place of torch's own, where it is one of several in a process."""
    host_rng_state: dict[str, Any] | None = None
    """States of Python's and NumPy's generators that go with `rng`; no training draws from them."""
    tables: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)
    """Tables of the last evaluation of each part of the data, such as its confusion matrix."""
    metric_notes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Notes of the last evaluation by part of the data and metric, such as on classes that the part lacks."""

    @property
    def has_to_halt(self) -> bool:
        """Whether the step at which to halt has come."""
        return self.until is not None and self.step >= self.until

    def interrupt(self) -> None:
        """Halt after the updates that are on their way."""
        self.until, self.interrupted = self.step, True

    def capture_rng(self) -> None:
        """Copy the state of torch's generator into one of this training, which other trainings do not draw from."""
        self.rng = torch.Generator()
        self.rng.set_state(torch.get_rng_state())
        self.host_rng_state = random_generators.host_state()

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "step": self.step,
            "loss": self.loss,
            "losses": torch.cat([loss.reshape(-1) for loss in self.losses]) if self.losses else None,
            "stopping": self.stopping.state() if self.stopping is not None else None,
            "random": random_generators.state(self.rng, self.host_rng_state),
        }

    def load(self, state: Mapping[str, Any], network: nn.Module) -> None:
        """Restore what `state` returned, with losses and weights on the device of `network`."""
        self.step, self.loss = state["step"], state["loss"]
        device = next(iter(network.parameters())).device
        self.losses[:] = [state["losses"].to(device)] if state["losses"] is not None else []
        if self.stopping is not None:
            self.stopping.restore(state["stopping"], network)
        random_generators.load(state["random"])
