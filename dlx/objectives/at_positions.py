"""Classes at each position of a sequence, with the classes on the last axis of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .classification import Classification

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Function, Outputs


class AtPositions(Classification):
    """Base class of objectives whose network gives one logit a class at each position, as a `linear` layer does.

    Shapes: outputs (N, T, classes), which losses and metrics take as (N, classes, T); targets (N, T).
    """

    def main(self, outputs: Outputs) -> Tensor:
        """Return the main output with the classes where metrics and losses have them: (N, classes, T)."""
        return super().main(outputs).movedim(-1, 1)

    def training_loss(
        self, around: Callable[[Function], Function] | None = None, parameters: Mapping[str, Tensor] | None = None
    ) -> Callable[[Outputs, Tensor], Tensor]:
        loss = super().training_loss(around, parameters)
        if not self.aux and self.flooding is None:
            return lambda outputs, target: loss(self.main(outputs), target)

        def of_several(outputs: Outputs, target: Tensor) -> Tensor:
            if isinstance(outputs, Mapping):
                moved = {name: one.movedim(-1, 1) for name, one in outputs.items() if name in self.aux}
                outputs = {**outputs, **moved}
            return loss(outputs, target)

        return of_several
