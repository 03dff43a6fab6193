"""Muon: momentum with orthogonalised steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from ..lazy import torch
from ..registry import Choice
from .base import OPTIMIZERS, Optimizer, Share, WeightGroup, as_groups

if TYPE_CHECKING:
    from torch import Tensor


class Muon(Optimizer):
    """Momentum with orthogonalised steps for matrices (Newton-Schulz); `rest` updates all other weights.

    It takes the weights of linear layers, which have two axes. Biases, norms, convolutions and, as torch's
    documentation advises, embeddings go to `rest`.
    Weight decay is decoupled: w shrinks by lr * weight_decay * w a step.
    Errors: a `rest` that is muon, or wants more than gradients.
    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv:2502.16982. torch: Muon.
    """

    kind: ClassVar[str] = "muon"
    weight_decay: NonNegativeFloat = Field(0.1, description="decoupled: w shrinks by lr * weight_decay * w a step")
    momentum: Share = Field(0.95, description="share of the velocity that is kept")
    nesterov: bool = Field(True, description="look ahead along the velocity")
    ns_coefficients: list[float] = Field(
        [3.4445, -4.775, 2.0315], min_length=3, max_length=3, description="of the Newton-Schulz polynomial"
    )
    eps: NonNegativeFloat = Field(1e-7, description="smallest norm that a step is divided by")
    ns_steps: PositiveInt = Field(5, le=99, description="rounds of Newton-Schulz")
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = Field(
        None, description="factor for matrices that are not square: sqrt(max(1, rows/columns)), or AdamW's step size"
    )
    rest: Annotated[Optimizer, Choice(OPTIMIZERS)] = Field(
        default_factory=OPTIMIZERS.new("adamw"), description="moves what is no matrix"
    )

    torch_name: ClassVar[str] = "Muon"
    own: ClassVar[tuple[str, ...]] = ("rest",)
    spares_tables: ClassVar[bool] = True

    @model_validator(mode="after")
    def _rest_is_another(self) -> Self:
        if isinstance(self.rest, Muon) or self.rest.takes != "gradient":
            raise ValueError(f"`rest` must be an optimizer that takes one gradient a step, not {self.rest.kind}")
        return self

    @property
    def state(self) -> int:
        return max(1, self.rest.state)

    @property
    def decays(self) -> bool:
        return super().decays or self.rest.decays

    @property
    def stands_still(self) -> bool:
        return super().stands_still and self.rest.stands_still

    def build(self, params: Iterable[Tensor] | Iterable[WeightGroup]) -> torch.optim.Optimizer:
        from ..modules.optim import CombinedOptimizer

        groups = as_groups(params)
        parts = []
        for build, mine in ((super().build, True), (self.rest.build, False)):
            taken = [
                replace(g, params=[p for p in g.params if (p.dim() == 2 and not g.table) is mine]) for g in groups
            ]
            taken = [group for group in taken if group.params]
            if taken:
                parts.append(build(taken))
        return parts[0] if len(parts) == 1 else CombinedOptimizer(parts)
