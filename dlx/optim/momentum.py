"""Momentum as a running mean."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from ..lazy import torch
from .base import COUPLED, Optimizer, Share


class Momentum(Optimizer):
    """Momentum as a running mean: g += weight_decay*w; m = beta*m + (1 - beta)*g, from m = 0; w -= lr*m.

    Without `bias_correction` it takes the steps of `sgd` with momentum = beta and a rate of (1 - beta)*lr; torch's
    dampening is not this, as it leaves the first step undamped. With it m is divided by 1 - beta^t in step t.
    Nesterov takes the gradient ahead, at w - lr*beta*m: w -= lr*(beta*m + (1 - beta)*g), where w is the point ahead.
    Errors: nesterov with bias_correction.
    Source: Prince, Understanding Deep Learning, equations 6.11 and 6.12. Not in torch.
    """

    kind: ClassVar[str] = "momentum"
    beta: Share = Field(0.9, description="share of the mean that is kept")
    bias_correction: bool = Field(False, description="divide m by 1 - beta^t, so that it is no smaller at first")
    nesterov: bool = Field(False, description="take the gradient ahead along m")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)

    state_per_param: ClassVar[int] = 1

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if self.nesterov and self.bias_correction:
            raise ValueError("nesterov and bias_correction do not go together")
        return self

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        from ..modules.optim import MomentumMean

        return MomentumMean, self.options()
