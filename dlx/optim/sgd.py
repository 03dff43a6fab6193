"""Stochastic gradient descent and gradient descent."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from .base import COUPLED, FUSED, Optimizer


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
    only_whole: ClassVar[bool] = True
