"""Attention."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """softmax(Q K^T * scale) V. Shapes: (N, *, T, d), (N, *, S, d) and (N, *, S, e) -> (N, *, T, e)."""

    def __init__(self, dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None) -> None:
        super().__init__()
        self.dropout_p, self.is_causal, self.scale = dropout_p, is_causal, scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        p = self.dropout_p if self.training else 0.0
        y = F.scaled_dot_product_attention(
            _fused(q), _fused(k), _fused(v), dropout_p=p, is_causal=self.is_causal, scale=self.scale
        )
        return y.view(*q.shape[:-1], v.shape[-1])

    def extra_repr(self) -> str:
        return f"dropout_p={self.dropout_p}, is_causal={self.is_causal}, scale={self.scale}"


class MultiheadAttention(nn.MultiheadAttention):
    """torch's multi-head attention, with its weights, for tokens with any leading axes and one, two or three inputs.

    Shapes: (N, *, T, D), (N, *, S, kdim) and (N, *, S, vdim) -> (N, *, T, D).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        is_causal: bool = False,
    ) -> None:
        super().__init__(embed_dim, num_heads, dropout, bias, kdim=kdim, vdim=vdim, batch_first=True)
        self.is_causal = is_causal

    def forward(self, *xs: Tensor) -> Tensor:  # type: ignore[override]
        q, k, v = self._projected(*(x.flatten(0, -3) for x in xs))
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=self.is_causal)
        made: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return made.view(xs[0].shape)

    def _projected(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values: (N, heads, T or S, D / heads) each."""
        inputs = (xs[0], xs[min(1, len(xs) - 1)], xs[-1])
        if len(xs) == 1:
            made = F.linear(xs[0], self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            alike = self._qkv_same_embed_dim
            own = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            weights = self.in_proj_weight.chunk(3) if alike else own
            biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
            made = tuple(F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))
        return tuple(x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for x in made)


def _fused(x: Tensor) -> Tensor:
    """Reshape to the four axes that torch's fused attention requires."""
    return x.unsqueeze(1) if x.dim() == 3 else x.flatten(0, -4)


class RelativePositionBias(nn.Module):
    """Add a learned value for each relative position and head to attention scores. Shapes: (N, *, heads, T, T),
    unchanged.
    """

    def __init__(self, window_size: Sequence[int], heads: int) -> None:
        super().__init__()
        table = torch.empty(prod(2 * w - 1 for w in window_size), heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", _distances(window_size))
        self.places = prod(window_size)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.relative_position_bias_table[self.relative_position_index]  # type: ignore[index]
        return x + bias.view(self.places, self.places, -1).permute(2, 0, 1)


class ShiftedWindowMask(nn.Module):
    """Subtract 100 from attention scores between regions. Shapes: (N, windows, heads, T, T), unchanged."""

    def __init__(self, size: Sequence[int], window_size: Sequence[int], shift: Sequence[int]) -> None:
        super().__init__()
        self.size, self.window_size, self.shift = tuple(size), tuple(window_size), tuple(shift)

    def forward(self, x: Tensor) -> Tensor:
        region = self._regions(x)
        apart = region[:, :, None] != region[:, None, :]
        return x - 100.0 * apart.to(x.dtype).unsqueeze(1)

    def _regions(self, x: Tensor) -> Tensor:
        """Return the region of each place of each window: (windows, T)."""
        axes = len(self.size)
        region = torch.zeros(self.size, dtype=torch.long, device=x.device)
        for axis, (n, window, shift) in enumerate(zip(self.size, self.window_size, self.shift, strict=True)):
            place = torch.arange(n, device=x.device)
            part = (place >= n - window).long() + (place >= n - shift)
            region = 3 * region + part.view(*(n if k == axis else 1 for k in range(axes)))
        cut = [k for n, window in zip(self.size, self.window_size, strict=True) for k in (n // window, window)]
        order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)]
        return region.view(cut).permute(order).reshape(-1, prod(self.window_size))


def _distances(window_size: Sequence[int]) -> Tensor:
    """Return the index of the relative position of each pair of places in a window: (T * T,)."""
    places = torch.cartesian_prod(*(torch.arange(w) for w in window_size)).view(-1, len(window_size))
    apart = places[:, None, :] - places[None, :, :]
    number = torch.zeros_like(apart[..., 0])
    for axis, w in enumerate(window_size):
        number = number * (2 * w - 1) + apart[..., axis] + w - 1
    return number.flatten()
