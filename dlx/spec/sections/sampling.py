"""The field `train.sampling`: how likely each example of the training part is drawn."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...registry import Declared


class Sampling(Declared):
    """Draw the examples of an epoch with replacement, in proportion to weights: as many as the training part has.

    `balanced` gives an example of class c the weight 1 / n_c, for n_c examples of its class, so that each class is
    equally likely; examples of a negative class number, which the loss ignores, are left out. `weights` takes the
    weights of the examples that the data names (`weights:`); the loss is then not weighed by them as well.
    Evaluations, the one of the training part included, count each example once.
    Errors: `balanced` without a class for each example; `weights` without any; `shuffle: false` beside it.
    Source: torch.utils.data.WeightedRandomSampler.
    """

    kind: ClassVar[str] = "sampling"
    by: Literal["balanced", "weights"] = Field(
        description="each class equally often, or in proportion to the weights of the examples"
    )
    target: str | None = Field(None, description="the target that has the classes, where several have; null: the one")

    @model_validator(mode="after")
    def _target_of_classes(self) -> Self:
        if self.by == "weights" and self.target is not None:
            raise ValueError("`target` names classes, and `by: weights` takes the weights of the examples: drop one")
        return self
