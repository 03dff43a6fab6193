"""Down the gradient, with and without momentum."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from ..lazy import torch
from .base import COUPLED, FUSED, Optimizer, Share


class SGD(Optimizer):
    """Stochastic gradient descent: g += weight_decay*w; v = momentum*v + (1 - dampening)*g; w -= lr*v.

    The velocity is torch's: it starts as the first g, undamped, and the learning rate is applied to v, not to g.
    `momentum` is the kind for books whose velocity is a running mean. Nesterov uses g + momentum*v.
    Errors: nesterov without momentum, or with dampening. Source: Sutskever et al. 2013.
    """

    kind: ClassVar[str] = "sgd"
    momentum: NonNegativeFloat = Field(0, description="share of the velocity that is kept")
    dampening: float = Field(0, description="share of the gradient that does not enter the velocity")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)
    nesterov: bool = Field(False, description="look ahead along the velocity")

    torch_name: ClassVar[str] = "SGD"
    fused: ClassVar[tuple[str, ...]] = FUSED

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")
        return self

    @property
    def state(self) -> int:
        return int(self.momentum != 0)


class GradientDescent(Optimizer):
    """Gradient descent: w -= lr*g, with g over the whole training set, so that an epoch is one update.

    `batch_size` is `all` by itself; `sgd` is the kind that takes a part of the examples in a step.
    Errors: a `batch_size` that is a number.
    """

    kind: ClassVar[str] = "gradient_descent"
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)

    torch_name: ClassVar[str] = "SGD"
    fused: ClassVar[tuple[str, ...]] = FUSED
    whole: ClassVar[bool] = True


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
        from ..modules.optim import Averaged

        return Averaged, self.options()


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

    @model_validator(mode="after")
    def _down_and_up(self) -> Self:
        if not self.etas[0] < 1 < self.etas[1]:
            raise ValueError(f"etas must lie on both sides of 1, not {self.etas[0]:g} and {self.etas[1]:g}")
        return self
