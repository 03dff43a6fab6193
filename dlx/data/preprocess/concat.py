"""Several steps on the same inputs, side by side."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_serializer

from ...lazy import np
from ...registry import Choice
from ...shapes import Shape
from .base import PREPROCESSING, Preprocess

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics


class Concat(Preprocess):
    """Apply several steps to the same inputs and join their results: `concat: [hog, color_histogram]`.

    Shapes: the results are flattened and joined, (values,).
    Errors: those of the steps.
    Source: sklearn.pipeline.FeatureUnion.
    """

    kind: ClassVar[str] = "concat"
    steps: Annotated[list[Preprocess], Choice(PREPROCESSING)] = Field(
        min_length=1, description="steps that each take the inputs as they are"
    )

    @field_serializer("steps")
    def _by_kind(self, steps: list[Preprocess]) -> list[dict[str, Any]]:
        return [{step.kind: step.model_dump(mode="json")} for step in steps]

    def output_shape(self, x: Shape) -> Shape:
        return Shape((sum(prod(step.output_shape(x)) for step in self.steps),))

    def fit(self, x: Floats) -> Statistics:
        found = (step.fit(x) for step in self.steps)
        return {f"{i}/{name}": values for i, each in enumerate(found) for name, values in each.items()}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        results = []
        for i, step in enumerate(self.steps):
            own = {name.partition("/")[2]: values for name, values in found.items() if name.startswith(f"{i}/")}
            results.append(step.apply(x, own).reshape(len(x), -1))
        return np.concatenate(results, 1)
