"""Optimizers that look for more than a minimum: draws from a posterior, and flat places."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..utils.torch_private import ForeachOps
from .optim import Closure, CombinedOptimizer, Groups


class Langevin(Optimizer):
    """w -= lr*g + sqrt(2*lr*temperature)*e. Random numbers depend on the seed and the step count only."""

    def __init__(self, params: Groups, lr: float, temperature: float, weight_decay: float, seed: int) -> None:
        options = {"temperature": temperature, "weight_decay": weight_decay, "seed": seed, "t": 0}
        super().__init__(params, {"lr": lr, **options})
        self.lists = ForeachOps()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        first = self.param_groups[0]
        rng: torch.Generator | None = None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            grads = [weight.grad for weight in weights]
            if group["weight_decay"]:
                grads = list(self.lists.add(grads, weights, alpha=group["weight_decay"]))
            self.lists.add_(weights, grads, alpha=-group["lr"])
            if not group["temperature"]:
                continue
            if rng is None:
                rng = torch.Generator(weights[0].device).manual_seed((first["seed"] * 1_000_003 + first["t"]) % 2**63)
            noise = [torch.randn(w.shape, generator=rng, dtype=w.dtype, device=w.device) for w in weights]
            self.lists.add_(weights, noise, alpha=sqrt(2 * group["lr"] * group["temperature"]))
        first["t"] += 1


class SharpnessAware(CombinedOptimizer):
    """Moves weights by the gradient at w + rho * g / |g|; the closure leaves loss and gradients at the weights."""

    def __init__(self, base: Optimizer, rho: float, adaptive: bool) -> None:
        super().__init__([base])
        self.rho, self.adaptive = rho, adaptive

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        weights = [w for group in self.param_groups for w in group["params"] if w.grad is not None]
        before = [weight.clone() for weight in weights]
        grads: list[Tensor] = [weight.grad for weight in weights]
        if self.adaptive:
            sized = [grad * weight.abs() for grad, weight in zip(grads, weights, strict=True)]
            ways = [one * weight.abs() for one, weight in zip(sized, weights, strict=True)]
        else:
            sized = ways = grads
        length = torch.stack([one.norm() for one in sized]).norm()
        for weight, way in zip(weights, ways, strict=True):
            weight.add_(way * (self.rho / (length + 1e-12)))
        with torch.enable_grad():
            closure()
        for weight, was in zip(weights, before, strict=True):
            weight.copy_(was)
        super().step()
        return loss
