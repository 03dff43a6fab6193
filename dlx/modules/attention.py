"""Attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """softmax(Q K^T * scale + mask) V.

    Shapes: (N, *, T, d), (N, *, S, d), (N, *, S, e) and a mask of (N, T, S) or (N, *, T, S) -> (N, *, T, e). Keys and
    values may have fewer heads with `enable_gqa`. A mask of truth values is true where a key takes part.
    """

    def __init__(
        self, dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False
    ) -> None:
        super().__init__()
        self.dropout_p, self.is_causal, self.scale, self.enable_gqa = dropout_p, is_causal, scale, enable_gqa

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        p = self.dropout_p if self.training else 0.0
        options: dict[str, Any] = {"scale": self.scale, "enable_gqa": self.enable_gqa and q.dim() > 3}
        if mask is None:
            causal = self.is_causal
            y = F.scaled_dot_product_attention(
                _fused(q), _fused(k), _fused(v), dropout_p=p, is_causal=causal, **options
            )
        else:
            if mask.dim() < q.dim():
                mask = mask.reshape(len(mask), *(1,) * (q.dim() - mask.dim()), *mask.shape[1:])
            mask = mask.expand(*q.shape[:-3], *mask.shape[-3:]) if q.dim() > 3 else mask
            y = _masked(_fused(q), _fused(k), _fused(v), _fused(mask), self.is_causal, p, **options)
        return y.view(*q.shape[:-1], v.shape[-1])

    def extra_repr(self) -> str:
        return f"dropout_p={self.dropout_p}, is_causal={self.is_causal}, scale={self.scale}, gqa={self.enable_gqa}"


class MultiheadAttention(nn.MultiheadAttention):
    """torch's multi-head attention, with its weights, for tokens with any leading axes and one to three inputs.

    Shapes: (N, *, T, D), (N, *, S, kdim) and (N, *, S, vdim), then masks -> (N, *, T, D). `takes` are the names of
    the inputs. A mask of truth values is true where a key is hidden, as in torch's module.
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
        num_kv_heads: int | None = None,
        takes: Sequence[str] = ("query",),
    ) -> None:
        super().__init__(embed_dim, num_heads, dropout, bias, kdim=kdim, vdim=vdim, batch_first=True)
        self.is_causal, self.takes = is_causal, tuple(takes)
        self.num_kv_heads = num_kv_heads or num_heads
        if self.num_kv_heads != num_heads:
            self._group_heads()

    def _group_heads(self) -> None:
        """Draw the projections anew with fewer rows for keys and values."""
        d, width = self.embed_dim, self.head_dim * self.num_kv_heads
        if self._qkv_same_embed_dim:
            self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(d + 2 * width, d)))
        else:
            self.k_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, self.kdim)))
            self.v_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, self.vdim)))
        if self.in_proj_bias is not None:
            self.in_proj_bias = nn.Parameter(torch.zeros(d + 2 * width))

    def forward(self, *xs: Tensor) -> Tensor:  # type: ignore[override]
        masks = {name: x for name, x in zip(self.takes, xs, strict=False) if name.endswith("_mask")}
        tokens = xs[: len(xs) - len(masks)]
        q, k, v = self._projected(*(x.flatten(0, -3) for x in tokens))
        p = self.dropout if self.training else 0.0
        grouped = self.num_kv_heads != self.num_heads
        if masks:
            mask = self._mask(xs[0], masks)
            y = _masked(q, k, v, mask, self.is_causal, p, enable_gqa=grouped)
        else:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=self.is_causal, enable_gqa=grouped)
        made: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return made.view(xs[0].shape)

    def _mask(self, q: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
        """Return one mask for all attentions, (N, 1 or heads, T or 1, S): true where a key takes part, or added."""
        lead, made = q.shape[:-2], []
        for name, mask in masks.items():
            each = mask.unsqueeze(-2) if name == "key_padding_mask" else mask
            if each.dim() == len(lead) + 2:
                each = each.unsqueeze(-3)
            elif each.dim() < len(lead) + 2:
                each = each.reshape(len(each), *(1,) * len(lead), *each.shape[1:])
            each = each.expand(*lead, *each.shape[-3:]).flatten(0, len(lead) - 1)
            made.append(~each if each.dtype == torch.bool else each)
        return made[0] if len(made) == 1 else _both(*made)

    def _projected(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values: (N, heads, T or S, D / heads) each."""
        inputs = (xs[0], xs[min(1, len(xs) - 1)], xs[-1])
        width = self.head_dim * self.num_kv_heads
        sizes = (self.embed_dim, width, width)
        if len(xs) == 1:
            made = F.linear(xs[0], self.in_proj_weight, self.in_proj_bias).split_with_sizes(sizes, -1)
        else:
            alike = self._qkv_same_embed_dim
            own = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            weights = self.in_proj_weight.split_with_sizes(sizes) if alike else own
            biases = self.in_proj_bias.split_with_sizes(sizes) if self.in_proj_bias is not None else (None,) * 3
            made = tuple(F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))
        return tuple(x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2) for x in made)


def _masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, is_causal: bool, p: float, **options: Any) -> Tensor:
    """Attention under a mask that is true where a key takes part, or is added to the scores.

    Queries without any key get zeros: torch's kernels differ in what they make of them.
    """
    if is_causal:
        mask = _both(mask, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril())
    hidden = (~mask if mask.dtype == torch.bool else mask.isneginf()).all(-1, keepdim=True)
    mask = mask | hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, 0.0)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, **options)
    return y.masked_fill(hidden, 0.0)


def _both(a: Tensor, b: Tensor) -> Tensor:
    """Return the mask of what both masks let take part; floats add up."""
    if a.dtype == b.dtype == torch.bool:
        return a & b
    return _added(a) + _added(b)


def _added(mask: Tensor) -> Tensor:
    """Return a mask as values that are added to the scores."""
    return torch.zeros(()).to(mask.device).masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask


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


class ContinuousRelativePositionBias(nn.Module):
    """Add 16 * sigmoid(network of the relative position) to scores. Shapes: (N, *, heads, T, T), unchanged."""

    relative_coords_table: Tensor
    relative_position_index: Tensor

    def __init__(
        self, window_size: Sequence[int], heads: int, hidden_features: int = 512, pretrained: Sequence[int] = ()
    ) -> None:
        super().__init__()
        axes = len(window_size)
        self.cpb_mlp = nn.Sequential(
            nn.Linear(axes, hidden_features), nn.ReLU(), nn.Linear(hidden_features, heads, bias=False)
        )
        far = torch.tensor([max(1, w - 1) for w in pretrained or window_size], dtype=torch.get_default_dtype())
        ends = [torch.arange(1.0 - w, w) for w in window_size]
        apart = torch.cartesian_prod(*ends).view(*(2 * w - 1 for w in window_size), axes) / far * 8
        spaced = apart.sign() * torch.log2(apart.abs() + 1.0) / 3.0
        self.register_buffer("relative_coords_table", spaced.unsqueeze(0))
        self.register_buffer("relative_position_index", _distances(window_size))
        self.places = prod(window_size)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.cpb_mlp(self.relative_coords_table).flatten(0, -2)
        bias = (16 * scores.sigmoid())[self.relative_position_index]
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
