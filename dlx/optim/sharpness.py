"""Sharpness-aware minimisation: gradients are taken where the loss is largest nearby."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from ..lazy import torch
from ..registry import Choice
from .base import OPTIMIZERS, Optimizer, WeightGroup

if TYPE_CHECKING:
    from torch import Tensor


class SAM(Optimizer):
    """Sharpness-aware minimisation: `base` moves the weights by the gradient at w + rho * g / |g|, g that at w.

    Two evaluations of loss and gradient a step, on the same batch with the same random numbers; batch norms take the
    statistics of both. The norm |g| is over all weights. With `adaptive` the step is rho * w^2 * g / |w * g|, each
    weight measured by its own size (ASAM).
    Errors: a `base` that wants more than gradients, or has a rate of its own; `augment`; clipping.
    Source: Foret et al. 2021, arXiv:2010.01412, algorithm 1; adaptive: Kwon et al. 2021, arXiv:2102.11600, with
    eta 0. Not in torch.
    """

    kind: ClassVar[str] = "sam"
    rho: PositiveFloat = Field(0.05, description="length of the way to where the gradient is taken")
    adaptive: bool = Field(False, description="measure each weight's way by its own size")
    base: Annotated[Optimizer, Choice(OPTIMIZERS)] = Field(
        default_factory=OPTIMIZERS.new("sgd"), description="moves the weights, at the rate of `sam`"
    )

    takes: ClassVar[Literal["gradient", "closure", "loss"]] = "closure"

    @model_validator(mode="after")
    def _base_takes_gradients(self) -> Self:
        if self.base.takes != "gradient":
            raise ValueError(f"`base` must be an optimizer that takes one gradient a step, not {self.base.kind}")
        if "lr" in self.base.model_fields_set:
            raise ValueError(f"the rate stands in `sam`: `{{lr: {self.base.lr:g}, base: {self.base.kind}}}`")
        return self

    @property
    def state(self) -> int:
        return self.base.state

    @property
    def decays(self) -> bool:
        return self.base.decays

    def build(self, params: Iterable[Tensor] | Iterable[WeightGroup]) -> torch.optim.Optimizer:
        from ..modules.optim_noise import SharpnessAware

        return SharpnessAware(self.base.model_copy(update={"lr": self.lr}).build(params), self.rho, self.adaptive)
