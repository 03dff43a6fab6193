"""Scaling to a fixed range."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from ...lazy import np
from .base import Per, Preprocess
from .sums import axes_of, chunks, concatenated

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics


class Rescale(Preprocess):
    """Scale the training inputs to a fixed range; other parts may leave it.

    Shapes: unchanged. Inputs that are constant in the training part become `low`.
    Errors: `low` that is not below `high`.
    Source: Russell & Norvig, Artificial Intelligence: A Modern Approach, 4th edition, section 22.2.1.
    """

    kind: ClassVar[str] = "rescale"
    low: float = Field(0.0, description="what the smallest training value becomes")
    high: float = Field(1.0, description="what the largest becomes")
    per: Per = "feature"

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`rescale` runs from {self.low:g} to {self.high:g}: give the smaller number first")
        return self

    def fit(self, x: Floats) -> Statistics:
        axes = axes_of(x, self.per)
        ends = [(c.min(axes, keepdims=True), c.max(axes, keepdims=True)) for c in chunks(x)]
        low, high = (np.stack(each).astype(np.float64) for each in zip(*ends, strict=True))
        return {"min": low.min(0), "max": high.max(0)}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        width = np.where(found["max"] == found["min"], 1.0, found["max"] - found["min"])
        size = self.high - self.low
        return concatenated((c - found["min"]) / width * size + self.low for c in chunks(x))
