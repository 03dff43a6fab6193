"""Random branches and weights in training."""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stochastic(nn.Module):
    """Base class of modules with random numbers for each sample (`row`) or once for the batch (`batch`)."""

    mode: str

    def draws(self, x: Tensor, *count: int) -> Tensor:
        """Draw uniform numbers in 0 to 1, of shape (*count, N or 1, 1, ...), which broadcasts against x."""
        rows = x.shape[0] if self.mode == "row" else 1
        return torch.rand(*count, rows, *(1,) * (x.dim() - 1), dtype=x.dtype, device=x.device)


class StochasticDepth(Stochastic):
    """x * b / (1 - p) in training, with b = 0 with probability p and else 1. Shapes: (N, *) -> (N, *)."""

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        stays = (self.draws(x) >= self.p).to(x.dtype)
        return x * (stays / max(1 - self.p, 1e-7))

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class ShakeDrop(Stochastic):
    """x * (b + a - b * a) in training, b = 0 with probability p and else 1, a uniform in -1 to 1; its gradient has a
    uniform in 0 to 1 in its place. In evaluation x * (1 - p). Shapes: (N, *) -> (N, *)."""

    def __init__(self, p: float = 0.5, mode: str = "row") -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.p)
        if not self.p:
            return x
        shaken = self.draws(x) < self.p
        forward = torch.where(shaken, 2 * self.draws(x) - 1, 1)
        backward = torch.where(shaken, self.draws(x), 1)
        return _swapped(x * backward, x.detach() * forward)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class ShakeShake(Stochastic):
    """The branches in random proportions that add up to 1; their mean in evaluation. Shapes: (N, *) -> (N, *)."""

    def __init__(self, backward: str = "shake", mode: str = "row") -> None:
        super().__init__()
        self.backward, self.mode = backward, mode

    def forward(self, *xs: Tensor) -> Tensor:
        if not self.training:
            return _mean(xs)
        forward = self._proportions(xs)
        if self.backward == "keep":
            return _mixed(xs, forward)
        by = _mean(xs) if self.backward == "even" else _mixed(xs, self._proportions(xs))
        return _swapped(by, _mixed([x.detach() for x in xs], forward))

    def _proportions(self, xs: tuple[Tensor, ...]) -> Tensor:
        """Draw proportions uniformly from the simplex: exponential numbers, divided by their sum."""
        draws = -torch.log1p(-self.draws(xs[0], len(xs)))
        return draws / draws.sum(0)

    def extra_repr(self) -> str:
        return f"backward={self.backward}, mode={self.mode}"


class DropPath(Stochastic):
    """The mean of the branches that are not dropped; of all in evaluation. Shapes: (N, *) each -> (N, *)."""

    def __init__(self, p: float = 0.15, single: float = 0.0, mode: str = "row") -> None:
        super().__init__()
        self.p, self.single, self.mode = p, single, mode

    def forward(self, *xs: Tensor) -> Tensor:
        if not self.training:
            return _mean(xs)
        draws = self.draws(xs[0], len(xs))
        survivor = draws == draws.amax(0)  # the least of them to be dropped
        alone = self.draws(xs[0]) < self.single
        live = (survivor | ((draws >= self.p) & ~alone)).to(draws.dtype)
        return _mixed(xs, live / live.sum(0))

    def extra_repr(self) -> str:
        return f"p={self.p}, single={self.single}, mode={self.mode}"


def _mean(xs: tuple[Tensor, ...]) -> Tensor:
    return reduce(add, xs) / len(xs)


def _mixed(xs: tuple[Tensor, ...] | list[Tensor], proportions: Tensor) -> Tensor:
    mixed: Tensor = reduce(add, (x * share for x, share in zip(xs, proportions, strict=True)))
    return mixed


def _swapped(gradient: Tensor, value: Tensor) -> Tensor:
    """Return the values of one tensor with the gradient of another."""
    return gradient + (value - gradient).detach()


class DropConnect(nn.Module):
    """`layer` with each weight of two axes or more dropped with probability p, in training. Shapes: as the layer."""

    def __init__(self, layer: nn.Module, p: float = 0.5) -> None:
        super().__init__()
        self.layer, self.p = layer, p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.layer(x)  # type: ignore[no-any-return]
        dropped = {name: F.dropout(w, self.p) for name, w in self.layer.named_parameters() if w.dim() > 1}
        return torch.func.functional_call(self.layer, dropped, x)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"p={self.p}"
