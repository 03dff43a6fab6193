"""Optimizers with a learning rate for each weight by the size of its gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from ..lazy import torch
from .base import COUPLED, Optimizer, Share

INSIDE = "sqrt(r + eps) in place of sqrt(r) + eps; never, in torch"


class Adagrad(Optimizer):
    """Adagrad: r += g^2; w -= lr * g / (sqrt(r) + eps). r only grows, so steps die down.

    Books differ in eps (1e-7 in CS231n) and where it stands.
    Errors: eps_inside with lr_decay or initial_accumulator_value. Source: Duchi et al. 2011. torch: Adagrad.
    """

    kind: ClassVar[str] = "adagrad"
    lr: NonNegativeFloat = Field(1e-2, description="learning rate")
    lr_decay: NonNegativeFloat = Field(0, description="the rate of step t is lr / (1 + (t - 1) * lr_decay)")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)
    initial_accumulator_value: NonNegativeFloat = Field(0, description="r at the start")
    eps: NonNegativeFloat = Field(1e-10, description="added to sqrt(r)")
    eps_inside: bool = Field(False, description=INSIDE)

    torch_name: ClassVar[str] = "Adagrad"
    own: ClassVar[tuple[str, ...]] = ("eps_inside",)
    fused: ClassVar[tuple[str, ...]] = ("cpu",)
    state_per_param: ClassVar[int] = 1

    @model_validator(mode="after")
    def _inside_alone(self) -> Self:
        if self.eps_inside and (self.lr_decay or self.initial_accumulator_value):
            raise ValueError("eps_inside goes without lr_decay and initial_accumulator_value")
        return self

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        if not self.eps_inside:
            return super().made_of()
        from ..modules.optim import AdaptiveForm

        options = {"lr": self.lr, "eps": self.eps, "weight_decay": self.weight_decay}
        return AdaptiveForm, options | {"betas": (None, None), "inside": True}


class Adadelta(Optimizer):
    """Adadelta: steps in the units of the weight, sqrt(mean of step^2 + eps) / sqrt(mean of g^2 + eps) * g.

    `lr` multiplies that, and is 1 in the paper. Source: Zeiler 2012, arXiv:1212.5701, algorithm 1. torch: Adadelta.
    """

    kind: ClassVar[str] = "adadelta"
    lr: NonNegativeFloat = Field(1.0, description="factor on the step")
    rho: Share = Field(0.9, description="decay of both means")
    eps: NonNegativeFloat = Field(1e-6, description="inside both roots")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)

    torch_name: ClassVar[str] = "Adadelta"
    state_per_param: ClassVar[int] = 2


class RMSprop(Optimizer):
    """RMSprop: r = alpha*r + (1 - alpha)*g^2; w -= lr * g / (sqrt(r) + eps).

    alpha is the books' beta: 0.9 or 0.99. Books differ in eps (1e-7 in CS231n) and where it stands.
    Errors: eps_inside with momentum or centered. Source: Hinton 2012, lecture 6e. torch: RMSprop.
    """

    kind: ClassVar[str] = "rmsprop"
    lr: NonNegativeFloat = Field(1e-2, description="learning rate")
    alpha: Share = Field(0.99, description="decay of r")
    eps: NonNegativeFloat = Field(1e-8, description="added to sqrt(r)")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)
    momentum: NonNegativeFloat = Field(0, description="share of the velocity that is kept")
    centered: bool = Field(False, description="divide by the deviation, sqrt(r - mean of g squared), instead")
    eps_inside: bool = Field(False, description=INSIDE)

    torch_name: ClassVar[str] = "RMSprop"
    own: ClassVar[tuple[str, ...]] = ("eps_inside",)

    @property
    def state(self) -> int:
        return 1 + (self.momentum > 0) + self.centered

    @model_validator(mode="after")
    def _inside_alone(self) -> Self:
        if self.eps_inside and (self.momentum or self.centered):
            raise ValueError("eps_inside goes without momentum and centered")
        return self

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        if not self.eps_inside:
            return super().made_of()
        from ..modules.optim import AdaptiveForm

        options = {"lr": self.lr, "eps": self.eps, "weight_decay": self.weight_decay}
        return AdaptiveForm, options | {"betas": (None, self.alpha), "inside": True}
