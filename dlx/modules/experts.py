"""Mixtures of experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .auxiliary import AuxiliaryLoss


class MixtureOfExperts(AuxiliaryLoss):
    """Each token through k of the experts, scaled by the router's probabilities. Shapes: (N, *, D) -> (N, *, out)."""

    def __init__(
        self,
        in_features: int,
        experts: Sequence[Sequence[nn.Module]],
        k: int = 1,
        balance: float = 0.01,
        renormalize: bool = False,
        noisy: bool = False,
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(in_features, len(experts), bias=False)
        self.noise = nn.Linear(in_features, len(experts), bias=False) if noisy else None
        self.experts = nn.ModuleList(nn.Sequential(*layers) for layers in experts)
        self.k, self.balance, self.renormalize = k, balance, renormalize

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        shares, chosen = self.routed(tokens)
        order = chosen.flatten().argsort(stable=True)
        made = torch.cat(self._by_expert(tokens[order // self.k], chosen))
        # back to the order of the tokens by an index, not by adding into zeros, whose order of sums is free on CUDA
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        of_tokens = made[back].view(len(tokens), self.k, -1) * shares.unsqueeze(2)
        return of_tokens.sum(1).view(*x.shape[:-1], -1)

    def routed(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors and the numbers of the k experts of each token: (tokens, k) both."""
        scores = self.gate(tokens)
        if self.noise is not None and self.training:
            scores = scores + torch.randn_like(scores) * F.softplus(self.noise(tokens))
        probabilities = scores.softmax(1)
        shares, chosen = probabilities.topk(self.k, 1)
        if self.balance:
            self.add(self.balance * imbalance(probabilities, chosen))
        return shares / shares.sum(1, keepdim=True) if self.renormalize else shares, chosen

    def _by_expert(self, tokens: Tensor, chosen: Tensor) -> list[Tensor]:
        """Return what each expert makes of its tokens, which lie one expert after the other."""
        counts = chosen.flatten().bincount(minlength=len(self.experts)).tolist()
        parts = torch.split(tokens, counts)
        return [expert(part) for expert, part in zip(self.experts, parts, strict=True)]

    def extra_repr(self) -> str:
        return f"k={self.k}, balance={self.balance}, renormalize={self.renormalize}"


def imbalance(probabilities: Tensor, chosen: Tensor) -> Tensor:
    """Return E * sum(f * P) for (tokens, E) probabilities and (tokens, k) numbers of experts: 1 where it is even."""
    experts = probabilities.shape[1]
    counts = chosen.flatten().bincount(minlength=experts)
    return experts * (counts / chosen.numel() * probabilities.mean(0)).sum()
