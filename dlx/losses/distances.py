"""Losses of distances between two embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from .values import OfValues

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


class Contrastive(OfValues):
    """t d^2 / 2 + (1 - t) max(0, margin - d)^2 / 2 of a distance d: pulls a pair of target 1 together, and pushes one
    of target 0 apart up to the margin.

    The smaller of both terms is predicted, so that a pair counts as the same up to d = margin / 2. Its probability is
    that of the terms as energies, the sigmoid of their difference: 0.5 there, and less for larger distances.
    Shapes: outputs, distances of 0 and more, and targets (N, *target).
    Source: Hadsell, Chopra & LeCun 2006, Dimensionality reduction by learning an invariant mapping, equation 4, whose
        Y is 1 - t. torch: none; half the square of hinge_embedding_loss.
    """

    kind: ClassVar[str] = "contrastive"
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    wants_distances: ClassVar[bool] = True
    margin: PositiveFloat = Field(1.0, description="distance up to which pairs of target 0 are pushed apart")

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            same, different = self._terms(output)
            return self.reduced(target * same + (1 - target) * different)

        return loss

    def predict(self, output: Tensor) -> Tensor:
        same, different = self._terms(output)
        return (different - same).sigmoid()

    def probabilities(self, output: Tensor) -> Tensor:
        return self.predict(output)

    def _terms(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of distances as pairs of target 1 and of target 0."""
        return output.square() / 2, (self.margin - output).clamp_min(0).square() / 2
