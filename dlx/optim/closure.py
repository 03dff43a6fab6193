"""Optimizers that evaluate the loss several times a step, or use its curvature."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ..lazy import torch
from .base import Optimizer


class LBFGS(Optimizer):
    """L-BFGS: Newton's direction from the last `history_size` gradients; several evaluations a step.

    A step is up to max_iter iterations on one batch, which is the whole training set where `batch_size` is left out:
    on small batches the curvature is that of their noise. Layers that draw at random (dropout) change the loss under
    its feet. Errors: `groups`; clipping. Source: Liu & Nocedal 1989. torch: LBFGS.
    """

    kind: ClassVar[str] = "lbfgs"
    lr: NonNegativeFloat = Field(1, description="factor on the direction, where there is no line search")
    max_iter: PositiveInt = Field(20, description="iterations a step")
    max_eval: PositiveInt | None = Field(None, description="evaluations a step; else 1.25 times max_iter")
    tolerance_grad: NonNegativeFloat = Field(1e-7, description="a largest gradient below this ends a step")
    tolerance_change: NonNegativeFloat = Field(1e-9, description="a change of weights or loss below this ends a step")
    history_size: PositiveInt = Field(100, description="gradients that are remembered")
    line_search_fn: Literal["strong_wolfe"] | None = Field(None, description="how far to go along the direction")

    torch_name: ClassVar[str] = "LBFGS"
    takes: ClassVar[Literal["gradient", "closure", "loss"]] = "closure"
    whole: ClassVar[bool] = True
    grouped: ClassVar[bool] = False

    @property
    def state(self) -> int:
        return 2 * self.history_size + 2


class Newton(Optimizer):
    """Newton's method: w -= lr * H^-1 g, with the exact Hessian H; one step reaches the minimum of a quadratic.

    H has a row for each weight: for small problems. It is computed with one backward pass a row, and solved directly;
    `damping` is added to its diagonal. A batch is the whole training set where `batch_size` is left out.
    Errors: more than 4,000 weights; a singular H, which dead units and a softmax over all classes make; clipping.
    """

    kind: ClassVar[str] = "newton"
    lr: NonNegativeFloat = Field(1.0, description="factor on the step")
    damping: NonNegativeFloat = Field(0, description="added to the diagonal of H")

    takes: ClassVar[Literal["gradient", "closure", "loss"]] = "loss"
    whole: ClassVar[bool] = True
    most: ClassVar[int | None] = 4000

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        from ..modules.optim import Newton as Made

        return Made, self.options()


class RandomSearch(Optimizer):
    """Random search: try other weights, and keep them where the loss is lower. No gradients.

    Local: w + lr*e with e normal. Otherwise: lr*e, new weights each time. Two evaluations a step, on the whole
    training set where `batch_size` is left out. Errors: clipping.
    Source: CS231n notes, optimization, strategies 1 and 2, where lr is 1e-4.
    """

    kind: ClassVar[str] = "random_search"
    lr: NonNegativeFloat = Field(1e-4, description="standard deviation of what is drawn")
    local: bool = Field(True, description="draw a step, not weights")

    takes: ClassVar[Literal["gradient", "closure", "loss"]] = "loss"
    whole: ClassVar[bool] = True

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        from ..modules.optim import RandomSearch as Made

        return Made, {**self.options(), "seed": torch.initial_seed()}
