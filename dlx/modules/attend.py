"""Attention of queries to keys by torch's fused kernels: masks, windows, and queries without any key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    window: int | None = None,
    **options: Any,
) -> Tensor:
    """Return softmax(q k^T * scale + mask) v: (N, heads, T, d), (N, heads, S, d), (N, heads, S, e) make (*, T, e).

    `mask`, (N, 1 or heads, T or 1, S), is true where a key takes part, or is added to the scores. With `is_causal`
    the query t sees the keys 0 to t, with `window` those nearer than it. Queries without any key get zeros: torch's
    kernels differ in what they make of them. `options` are torch's: dropout_p, scale, enable_gqa.
    """
    if mask is None and is_blocked(q.shape[-2], k.shape[-2], window):
        return _in_blocks(q, k, v, is_causal, window or 0, **options)
    if mask is None and (window is None or window >= max(q.shape[-2], k.shape[-2])):
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal, **options)
    if mask is not None and mask.stride(0) == 0:  # one for the whole batch: what follows is computed once
        mask = mask[:1]
    if is_causal or window is not None:
        near = band(q.shape[-2], k.shape[-2], is_causal, window, q.device)
        mask = near if mask is None else both(mask, near)
    assert mask is not None
    hidden = (~mask if mask.dtype == torch.bool else mask.isneginf()).all(-1, keepdim=True)
    mask = mask | hidden if mask.dtype == torch.bool else mask.masked_fill(hidden, 0.0)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)
    return y.masked_fill(hidden, 0.0)


def is_blocked(queries: int, keys: int, window: int | None) -> bool:
    """Whether attention with a window goes block by block, so that its cost grows with the tokens alone."""
    return window is not None and queries == keys and queries > window


def band(queries: int, keys: int, is_causal: bool, window: int | None, device: torch.device) -> Tensor:
    """Return a mask of (T, S), true for keys that are not behind the query, or nearer than `window`, or both."""
    before = torch.arange(queries, device=device).unsqueeze(1) - torch.arange(keys, device=device)
    if window is None:
        return before >= 0
    near = before < window
    return near & (before >= 0) if is_causal else near & (before > -window)


def both(a: Tensor, b: Tensor) -> Tensor:
    """Return the mask of what both masks let take part; floats add up."""
    if a.dtype == b.dtype == torch.bool:
        return a & b
    return _added(a) + _added(b)


def same_document(document: Tensor) -> Tensor:
    """Return which keys are of the document of each query: (N, *, T) -> (N, *, T, T)."""
    return document.unsqueeze(-1) == document.unsqueeze(-2)


def spread(mask: Tensor, lead: Sequence[int]) -> Tensor:
    """Return a mask of (N, T, S), (N, heads, T, S) or (N, *, heads or none, T, S) as (N * others, 1 or heads, T, S).

    `lead` are the batch and the axes before the tokens.
    """
    if mask.dim() == len(lead) + 2:
        mask = mask.unsqueeze(-3)
    elif mask.dim() < len(lead) + 2:
        mask = mask.reshape(mask.shape[0], *(1,) * len(lead), *mask.shape[1:])
    mask = mask.expand(*lead, *mask.shape[-3:])
    return mask if len(lead) == 1 else mask.flatten(0, len(lead) - 1)


def _added(mask: Tensor) -> Tensor:
    """Return a mask as values that are added to the scores."""
    return torch.zeros(()).to(mask.device).masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask


def _in_blocks(q: Tensor, k: Tensor, v: Tensor, is_causal: bool, window: int, **options: Any) -> Tensor:
    """Attention to keys nearer than `window`: each block of so many queries to its own keys and those beside it."""
    tokens, blocks = q.shape[-2], -(-q.shape[-2] // window)
    beside = 1 if is_causal else 2
    empty = blocks * window - tokens
    queries = F.pad(q, (0, 0, 0, empty)) if empty else q
    queries = queries.unflatten(2, (blocks, window)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]

    def around(x: Tensor) -> Tensor:
        wide = F.pad(x, (0, 0, window, empty + (0 if is_causal else window)))
        return wide.unfold(2, (1 + beside) * window, window).permute(0, 2, 1, 4, 3).flatten(1, 2)

    first = torch.arange(blocks, device=q.device).view(-1, 1, 1) * window
    query = torch.arange(window, device=q.device).unsqueeze(1)
    key = torch.arange(-window, beside * window, device=q.device)
    before = query - key
    seen = (before < window) & (before >= 0 if is_causal else before > -window)
    mask = seen & (first + key >= 0) & (first + key < tokens)
    mask = mask.repeat_interleave(q.shape[1], 0).unsqueeze(0)
    y = F.scaled_dot_product_attention(queries, around(k), around(v), attn_mask=mask, **options)
    made: Tensor = y.unflatten(1, (blocks, -1)).transpose(1, 2).flatten(2, 3)  # type: ignore[no-untyped-call]
    return made[:, :, :tokens] if empty else made
