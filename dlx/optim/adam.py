"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from ..lazy import torch
from .base import COUPLED, FUSED, Betas, Optimizer

DECOUPLED = "take weight_decay as AdamW does: w -= lr * weight_decay * w, apart from the gradient"


class Adam(Optimizer):
    """Adam: running means m of g and v of g^2, bias-corrected; w -= lr * m / (sqrt(v) + eps).

    Weight decay is coupled (enters the gradient). Books differ in eps (1e-7 in CS231n) and where it stands. Without
    bias_correction the first step is (1 - beta1)/sqrt(1 - beta2) times as long: 3.16 with the defaults.
    Errors: amsgrad without bias_correction, or with eps_inside.
    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    kind: ClassVar[str] = "adam"
    betas: Betas = Field([0.9, 0.999], description="decay of m and of v")
    eps: NonNegativeFloat = Field(1e-8, description="added to sqrt(v)")
    weight_decay: NonNegativeFloat = Field(0, description=COUPLED)
    amsgrad: bool = Field(False, description="divide by the largest v so far (Reddi et al. 2018)")
    bias_correction: bool = Field(True, description="divide m by 1 - beta1^t and v by 1 - beta2^t; always, in torch")
    eps_inside: bool = Field(False, description="sqrt(v + eps) in place of sqrt(v) + eps; never, in torch")

    torch_name: ClassVar[str] = "Adam"
    own: ClassVar[tuple[str, ...]] = ("bias_correction", "eps_inside")
    fused: ClassVar[tuple[str, ...]] = FUSED
    decoupled: ClassVar[bool] = False

    @property
    def state(self) -> int:
        return 3 if self.amsgrad else 2

    @model_validator(mode="after")
    def _amsgrad_is_torchs(self) -> Self:
        if self.amsgrad and (self.eps_inside or not self.bias_correction):
            raise ValueError("amsgrad goes with bias_correction, and with eps outside the root")
        return self

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        if self.bias_correction and not self.eps_inside:
            return super().made_of()
        from ..modules.optim import AdaptiveForm

        return AdaptiveForm, {
            "lr": self.lr,
            "betas": tuple(self.betas),
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "decoupled": self.decoupled,
            "corrected": self.bias_correction,
            "inside": self.eps_inside,
        }


class AdamW(Adam):
    """Adam with decoupled weight decay: w -= lr * weight_decay * w, apart from the gradient.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    kind: ClassVar[str] = "adamw"
    weight_decay: NonNegativeFloat = Field(1e-2, description="decoupled: w shrinks by lr * weight_decay * w a step")

    torch_name: ClassVar[str] = "AdamW"
    decoupled: ClassVar[bool] = True
