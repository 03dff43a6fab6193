"""Variants of Adam."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from .base import COUPLED, Betas, Optimizer

DECOUPLED = "take weight_decay as AdamW does: w -= lr * weight_decay * w, apart from the gradient"


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead: the step is taken along what m will be. Source: Dozat 2016. torch: NAdam."""

    kind: ClassVar[str] = "nadam"
    lr: NonNegativeFloat = Field(2e-3, description="learning rate")
    betas: Betas = Field([0.9, 0.999], description="decay of m and of v")
    eps: NonNegativeFloat = Field(1e-8, description="added to sqrt(v)")
    weight_decay: NonNegativeFloat = Field(0, description=f"{COUPLED}; see decoupled_weight_decay")
    momentum_decay: NonNegativeFloat = Field(4e-3, description="how beta1 warms up: beta1*(1 - 0.96^(t*it) / 2)")
    decoupled_weight_decay: bool = Field(False, description=DECOUPLED)

    torch_name: ClassVar[str] = "NAdam"
    state_per_param: ClassVar[int] = 2


class RAdam(Optimizer):
    """Adam that begins as momentum, until v rests on enough steps: a warm-up that needs no schedule.

    Source: Liu et al. 2020, arXiv:1908.03265, algorithm 2. torch: RAdam.
    """

    kind: ClassVar[str] = "radam"
    betas: Betas = Field([0.9, 0.999], description="decay of m and of v")
    eps: NonNegativeFloat = Field(1e-8, description="added to sqrt(v)")
    weight_decay: NonNegativeFloat = Field(0, description=f"{COUPLED}; see decoupled_weight_decay")
    decoupled_weight_decay: bool = Field(False, description=DECOUPLED)

    torch_name: ClassVar[str] = "RAdam"
    state_per_param: ClassVar[int] = 2


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the mean square: u = max(beta2*u, |g| + eps); w -= lr * m / u.

    m is bias-corrected. Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 2. torch: Adamax.
    """

    kind: ClassVar[str] = "adamax"
    lr: NonNegativeFloat = Field(2e-3, description="learning rate")
    betas: Betas = Field([0.9, 0.999], description="decay of m and of u")
    eps: NonNegativeFloat = Field(1e-8, description="added to |g|")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)

    torch_name: ClassVar[str] = "Adamax"
    state_per_param: ClassVar[int] = 2
