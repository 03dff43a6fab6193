"""Self-attention whose scores depend on how far a key is from a query."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attend import both, spread
from .position import _angles
from .steps import Cache, lower_right


class RelativeAttention(nn.Module):
    """Base class: (scores of contents + scores of distances) * scale, softmax, and what is gathered.

    Shapes: (N, *, T, D), then masks -> (N, *, T, D). `takes` are the names of the inputs. A mask of truth values is
    true where a key is hidden, as in torch's module.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        is_causal: bool = False,
        takes: Sequence[str] = ("query",),
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout, self.is_causal, self.takes = num_heads, dropout, is_causal, tuple(takes)
        self.head = width // num_heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width)) if bias else None
        self.out_proj = nn.Linear(width, width, bias=bias)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def forward(self, *xs: Tensor) -> Tensor:
        q, k, v = self._projected(xs[0].flatten(0, -3))
        tokens = torch.arange(q.shape[2], device=q.device)
        made = self._attend(q, k, v, tokens.unsqueeze(0) - tokens.unsqueeze(1), self._mask(xs, q))
        return made.view(xs[0].shape)

    def step(self, *xs: Tensor, cache: Cache) -> Tensor:
        """Attention of the next tokens to all so far, whose keys and values are kept. Masks cover all keys so far."""
        start, cache.length = cache.length, cache.length + xs[0].shape[-2]
        q, k, v = self._projected(xs[0])
        k, v = cache.append("key", k), cache.append("value", v)
        keys = torch.arange(cache.length, device=q.device)
        distance = keys.unsqueeze(0) - torch.arange(start, cache.length, device=q.device).unsqueeze(1)
        mask, seen = self._joint_mask(xs, q), lower_right(q.shape[2], cache.length, q.device)
        if seen is not None:
            mask = seen.expand(1, 1, *seen.shape) if mask is None else both(mask, seen)
        return self._attend(q, k, v, distance, mask)

    def of_distance(self, q: Tensor, distance: Tensor) -> Tensor:
        """Return the scores of distances, (N, heads, T, S), of queries (N, heads, T, d) and distances (T, S)."""
        raise TypeError(f"{type(self).__name__} has no of_distance()")

    def of_content(self, q: Tensor) -> Tensor:
        """Return the queries whose products with keys are the scores of contents."""
        return q

    def gathered(self, weights: Tensor, v: Tensor, distance: Tensor) -> Tensor:
        """Return the sums (N, heads, T, d) of values by weights (N, heads, T, S)."""
        return weights @ v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, distance: Tensor, mask: Tensor | None) -> Tensor:
        scores = (self.of_content(q) @ k.transpose(-1, -2) + self.of_distance(q, distance)) * self.head**-0.5
        hidden = None
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
            hidden = scores.isneginf().all(-1, keepdim=True)
            scores = scores.masked_fill(hidden, 0.0)
        weights = scores.softmax(-1)
        if self.dropout and self.training:
            weights = F.dropout(weights, self.dropout)
        y = self.gathered(weights, v, distance)
        y = y if hidden is None else y.masked_fill(hidden, 0.0)
        made: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return made

    def _projected(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values: (N, heads, T, d) each."""
        each = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        return tuple(one.unflatten(-1, (self.num_heads, self.head)).transpose(1, 2) for one in each)  # type: ignore[no-untyped-call]

    def _mask(self, xs: Sequence[Tensor], q: Tensor) -> Tensor | None:
        joint = self._joint_mask(xs, q)
        if not self.is_causal:
            return joint
        tokens = q.shape[2]
        seen = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).tril().view(1, 1, tokens, tokens)
        return seen if joint is None else both(joint, seen)

    def _joint_mask(self, xs: Sequence[Tensor], q: Tensor) -> Tensor | None:
        """Return one mask for all given ones, (N, 1 or heads, T or 1, S): true where a key takes part, or added."""
        made = []
        for name, mask in zip(self.takes[1:], xs[1:], strict=True):
            each = spread(mask.unsqueeze(-2) if name == "key_padding_mask" else mask, xs[0].shape[:-2])
            made.append(~each if each.dtype == torch.bool else each)
        return None if not made else made[0] if len(made) == 1 else both(*made)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, dropout={self.dropout}, is_causal={self.is_causal}"


class ShawAttention(RelativeAttention):
    """A learned vector for each distance, added to the key and to the value: Shaw et al. 2018."""

    def __init__(self, width: int, num_heads: int, max_distance: int, values: bool = True, **options: object) -> None:
        super().__init__(width, num_heads, **options)  # type: ignore[arg-type]
        self.max_distance, rows = max_distance, 2 * max_distance + 1
        self.key_embedding = nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, self.head)))
        self.value_embedding = nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, self.head))) if values else None

    def of_distance(self, q: Tensor, distance: Tensor) -> Tensor:
        rows = self._rows(distance)
        return (q @ self.key_embedding.T).gather(-1, rows.expand(*q.shape[:2], *rows.shape))

    def gathered(self, weights: Tensor, v: Tensor, distance: Tensor) -> Tensor:
        made = weights @ v
        if self.value_embedding is None:
            return made
        rows = self._rows(distance).expand(weights.shape)
        empty = weights.new_zeros(*weights.shape[:-1], len(self.value_embedding))
        return made + empty.scatter_add(-1, rows, weights) @ self.value_embedding

    def _rows(self, distance: Tensor) -> Tensor:
        return distance.clamp(-self.max_distance, self.max_distance) + self.max_distance


class TransformerXLAttention(RelativeAttention):
    """Projected sinusoids of the distance, and learned queries for contents and distances: Dai et al. 2019."""

    def __init__(self, width: int, num_heads: int, base: float = 10_000.0, **options: object) -> None:
        super().__init__(width, num_heads, **options)  # type: ignore[arg-type]
        self.base = base
        self.position_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, width)))
        self.u, self.v = (nn.Parameter(torch.zeros(num_heads, self.head)) for _ in range(2))

    def of_content(self, q: Tensor) -> Tensor:
        return q + self.u.unsqueeze(1)

    def of_distance(self, q: Tensor, distance: Tensor) -> Tensor:
        """A key i - j positions before the query has the sinusoids of i - j."""
        first = 0 if self.is_causal else 1 - distance.shape[1]
        before = -distance
        rows = self._sinusoids(first, distance.shape[1], q)
        projected = F.linear(rows, self.position_weight).view(-1, self.num_heads, self.head)
        queries = (q + self.v.unsqueeze(1)).transpose(0, 1)
        flat = queries.reshape(self.num_heads, -1, self.head) @ projected.permute(1, 2, 0)  # one for all samples
        scores = flat.view(*queries.shape[:3], -1).transpose(0, 1)
        places = (before - first).clamp_min(0)
        return scores.gather(-1, places.expand(*q.shape[:2], *places.shape))

    def _sinusoids(self, start: int, stop: int, like: Tensor) -> Tensor:
        """Return the sines and then the cosines of distances, (stop - start, D)."""
        width = self.num_heads * self.head
        angles = _angles(start, stop, width + width % 2, self.base)
        return torch.cat((angles.sin(), angles.cos()), 1)[:, :width].to(like)
