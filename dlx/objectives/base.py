"""What a network is asked to do: which loss, which metrics, and what its outputs must look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ..data import Facts
from ..errors import Problem
from ..losses import Loss
from ..registry import Declared, Registry, family
from ..shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor

OBJECTIVES: Registry[Objective] = Registry("objective", "dlx.objectives", "dlx.objectives")


@family(OBJECTIVES)
class Objective(Declared):
    """The root of all objectives."""

    loss: Loss
    metrics: ClassVar[tuple[str, ...]] = ()

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        """What does not fit between the network's output and the data."""
        raise TypeError(f"{type(self).__name__} has no check()")

    def loss_function(self) -> Callable[[Tensor, Tensor], Tensor]:
        """From outputs and targets of a batch to a scalar."""
        return self.loss.function()

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The metrics of a batch, each averaged over its examples, still on the device."""
        raise TypeError(f"{type(self).__name__} has no measure()")
