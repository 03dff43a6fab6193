"""Stochastic gradient Langevin dynamics: noise that makes of the weights a draw from their posterior."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, NonNegativeFloat

from ..lazy import torch
from .base import COUPLED, Optimizer


class SGLD(Optimizer):
    """Langevin dynamics: w -= lr*g + sqrt(2*lr*temperature)*e, for e normal, g the gradient of the mean loss.

    The weights come to be draws from the density exp(-loss / temperature), up to a factor: with the negative log
    likelihood as loss and a temperature of 1/n, for n training examples, that is their posterior, the prior being
    `weight_decay`, exp(-weight_decay * |w|^2 / (2 * temperature)). In the paper's words its step size is
    2 * lr / n. A rate that does not fall keeps an error in proportion to it. Draws follow from the seed and the
    number of the step alone.
    Source: Welling & Teh 2011, Bayesian Learning via Stochastic Gradient Langevin Dynamics, equation 4. Not in torch.
    """

    kind: ClassVar[str] = "sgld"
    temperature: NonNegativeFloat = Field(description="of the density of the weights; 0 is gradient descent")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        from ..modules.optim_noise import Langevin

        return Langevin, {**self.options(), "seed": torch.initial_seed() % 2**63}
