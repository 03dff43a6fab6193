"""Rprop: steps by the sign of the gradient."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from .base import Optimizer


class Rprop(Optimizer):
    """Resilient backpropagation: each weight has a step of its own, which grows while its gradient keeps its sign.

    Only signs count, so it wants the gradient of the whole training set: `batch_size: all`.
    Source: Riedmiller & Braun 1993. torch: Rprop.
    """

    kind: ClassVar[str] = "rprop"
    lr: NonNegativeFloat = Field(1e-2, description="the first step of each weight")
    etas: list[PositiveFloat] = Field(
        [0.5, 1.2], min_length=2, max_length=2, description="factors of a step after a change of sign, and without"
    )
    step_sizes: list[PositiveFloat] = Field(
        [1e-6, 50], min_length=2, max_length=2, description="the smallest and the largest step"
    )

    torch_name: ClassVar[str] = "Rprop"
    state_per_param: ClassVar[int] = 2
    moves_by_rate: ClassVar[bool] = False  # the smallest of `step_sizes` is above 0

    @model_validator(mode="after")
    def _down_and_up(self) -> Self:
        if not self.etas[0] < 1 < self.etas[1]:
            raise ValueError(f"etas must lie on both sides of 1, not {self.etas[0]:g} and {self.etas[1]:g}")
        return self
