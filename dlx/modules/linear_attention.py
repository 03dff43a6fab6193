"""Attention whose cost is linear in the tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .attend import spread
from .steps import Cache

SMALLEST = 1e-6
"""Added to the sum of the weights, as the authors' code has it: where all of them round to 0, the output is 0."""


class LinearAttention(nn.Module):
    """phi(q) sum(phi(k) v) / phi(q) sum(phi(k)), with phi = elu + 1.

    Shapes: (N, *, T, D), (N, *, S, D) and (N, *, S, E) -> (N, *, T, E), in `num_heads` parts of the last axis. A
    `padding` of (N, S) or (N, *, S) is true where a key is hidden. Causal sums are formed block by block of `block`
    tokens.
    """

    def __init__(self, num_heads: int = 1, is_causal: bool = False, block: int = 64) -> None:
        super().__init__()
        self.num_heads, self.is_causal, self.block = num_heads, is_causal, block

    def forward(self, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None = None) -> Tensor:
        query, key, value = self._split(q, k, v, padding)
        if not self.is_causal:
            return self._quotient(query @ (key.transpose(-1, -2) @ value), q)
        tokens, blocks = query.shape[-2], -(-query.shape[-2] // self.block)
        if blocks == 1:
            return self._quotient(self._within(query, key, value), q)
        empty = blocks * self.block - tokens
        query, key, value = (self._blocks(x, blocks, empty) for x in (query, key, value))
        sums = (key.transpose(-1, -2) @ value).cumsum(-3)
        before = F.pad(sums[..., :-1, :, :], (0, 0, 0, 0, 1, 0))
        joined = self._within(query, key, value) + query @ before
        return self._quotient(joined.flatten(-3, -2)[..., :tokens, :], q)

    def step(self, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None = None, *, cache: Cache) -> Tensor:
        """Of the next tokens; of those before, the sum of phi(k) v is kept. Padding covers all keys so far."""
        new = None if padding is None else padding[..., padding.shape[-1] - k.shape[-2] :]
        query, key, value = self._split(q, k, v, new)
        joined, own = self._within(query, key, value), key.transpose(-1, -2) @ value
        before = cache.held.get("sum")
        cache.held = {"sum": own if before is None else before + own}
        return self._quotient(joined if before is None else joined + query @ before, q)

    def _blocks(self, x: Tensor, blocks: int, empty: int) -> Tensor:
        filled = F.pad(x, (0, 0, 0, empty)) if empty else x.contiguous()
        return filled.view(*x.shape[:-2], blocks, self.block, x.shape[-1])

    def _within(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the sums over the keys up to each query of the same block."""
        return (q @ k.transpose(-1, -2)).tril() @ v

    def _split(self, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return phi(q), phi(k), 0 where hidden, and the values with a one behind them, which sums the weights."""
        flat = (x.flatten(0, -3) for x in (q, k, v))
        query, key, value = (x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for x in flat)
        key = F.elu(key) + 1
        if padding is not None:
            hidden = spread(padding.unsqueeze(-2), k.shape[:-2]).transpose(-1, -2)
            key = key.masked_fill(hidden, 0.0)
        return F.elu(query) + 1, key, F.pad(value, (0, 1), value=1.0)

    def _quotient(self, joined: Tensor, q: Tensor) -> Tensor:
        made = joined[..., :-1] / (joined[..., -1:] + SMALLEST)
        return made.transpose(1, 2).reshape(*q.shape[:-1], -1)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, is_causal={self.is_causal}"
