"""One of several augmentations for each example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, PositiveFloat, model_validator

from ..errors import ShapeError
from ..lazy import torch
from ..registry import Choice
from ..shapes import Shape
from .base import AUGMENTATIONS, Augmentation, Mixing, per_example

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class OneOf(Augmentation):
    """Apply one of several augmentations to each example, drawn with probabilities in proportion to weights.

    Shapes: those that its augmentations take; all of them have to make the same shape.
    Cost: each augmentation is done to the whole batch, and each example keeps the one that was drawn for it: shapes
    then do not depend on chance, and a GPU need not be waited for.
    Errors: shapes that differ; a number of weights that is not that of the augmentations; `mixup` and `cutmix`, which
    have one draw for a batch.
    Source: albumentations: OneOf. torchvision: RandomChoice, whose weights are `p`.
    """

    kind: ClassVar[str] = "one_of"
    of: Annotated[list[Augmentation], Choice(AUGMENTATIONS)] = Field(
        min_length=2, max_length=100, description="what is drawn from"
    )
    weights: list[PositiveFloat] | None = Field(None, description="how likely each is, beside the others; else 1")

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.of):
            raise ValueError(f"`weights` has {len(self.weights)} values, and there are {len(self.of)} augmentations")
        for one in self.of:
            if isinstance(one, Mixing):
                raise ValueError(  # noqa: TRY004
                    f"{one.kind} has one draw for a batch, and one_of one for each example: write it beside one_of"
                )
        return self

    @property
    def colours(self) -> bool:  # type: ignore[override]
        return any(one.colours for one in self.of)

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        made = [one.output_shape(x) for one in self.of]
        for one, shape in zip(self.of, made, strict=True):
            if shape != made[0]:
                raise ShapeError(
                    f"of {x} {self.of[0].kind} makes {made[0]} and {one.kind} {shape}, and one_of wants one shape",
                    hint="Put what changes the size before or after it.",
                )
        return made[0]

    def choosing(self, steps: Sequence[Step]) -> Step:
        """Return the function that applies one of the steps to each example and its target."""
        weights = self.weights or [1.0] * len(steps)
        ends = [end / sum(weights) for end in accumulate(weights[:-1])]

        def either(where: Tensor, moved: Any, target: Any) -> Any:
            return target if moved is target else torch.where(per_example(where, moved), moved, target)

        def chosen(x: Tensor, y: Any) -> tuple[Tensor, Any]:
            u = torch.rand(len(x), device=x.device)
            found, target = steps[0](x, y)
            for end, step in zip(ends, steps[1:], strict=True):
                later, moved = step(x, y)
                found = torch.where(per_example(u >= end, later), later, found)
                if isinstance(moved, dict):
                    target = {name: either(u >= end, other, target[name]) for name, other in moved.items()}
                else:
                    target = either(u >= end, moved, target)
            return found, target

        return chosen


def flattened(steps: Iterable[Augmentation]) -> Iterator[Augmentation]:
    """Yield the augmentations, with those inside `one_of` in its place."""
    for step in steps:
        if isinstance(step, OneOf):
            yield from flattened(step.of)
        else:
            yield step


__all__ = ["OneOf", "flattened"]
