"""Attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attend import attend, both, same_document, spread
from .position import RotaryEmbedding
from .steps import Cache, lower_right

MASKS = ("attn_mask", "key_padding_mask", "document")
DOCUMENT = "document"


class Attention(nn.Module):
    """softmax(Q K^T * scale + mask) V.

    Shapes: (N, *, T, d), (N, *, S, d), (N, *, S, e) and a mask of (N, T, S) or (N, *, T, S) -> (N, *, T, e). Keys and
    values may have fewer heads with `enable_gqa`. A mask of truth values is true where a key takes part. With
    `num_heads` the heads are parts of the last axis. `takes` are the names of the inputs behind the values.
    """

    def __init__(
        self,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        num_heads: int | None = None,
        takes: Sequence[str] = ("attn_mask",),
    ) -> None:
        super().__init__()
        self.takes = tuple(takes)
        self.dropout_p, self.is_causal, self.scale, self.enable_gqa = dropout_p, is_causal, scale, enable_gqa
        self.num_heads = num_heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> Tensor:
        query, key, value = self._heads(q, k, v)
        mask = self._mask(masked(dict(zip(self.takes, masks, strict=True))), q)
        y = self._attend(query, key, value, mask, is_causal=self.is_causal)
        return self._joined(y, q, value.shape[-1])

    def step(self, q: Tensor, k: Tensor, v: Tensor, *masks: Tensor, cache: Cache) -> Tensor:
        """Attention of the next tokens, of one document, with the keys and values of those before."""
        query, key, value = self._heads(q, k, v)
        key, value = cache.append("key", key), cache.append("value", value)
        cache.length = key.shape[-2]
        mask = self._mask(dict(zip(self.takes, masks, strict=True)).get("attn_mask"), q)
        seen = lower_right(query.shape[-2], key.shape[-2], q.device)
        if seen is not None:
            mask = seen.expand(query.shape[0], 1, *seen.shape) if mask is None else both(mask, seen)
        return self._joined(self._attend(query, key, value, mask), q, value.shape[-1])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
        grouped = q.shape[1] != k.shape[1]
        p = self.dropout_p if self.training else 0.0
        return attend(q, k, v, mask, scale=self.scale, enable_gqa=grouped, dropout_p=p, **options)

    def _heads(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """Bring queries, keys and values to the four axes that torch's fused attention requires."""
        if self.num_heads is None:
            return tuple(x.unsqueeze(1) if x.dim() == 3 else x.flatten(0, -4) for x in xs)
        head = xs[0].shape[-1] // self.num_heads
        widths = (head, head, xs[2].shape[-1] * head // xs[1].shape[-1])
        flat = [x.flatten(0, -3) for x in xs]
        return tuple(x.view(*x.shape[:2], -1, w).transpose(1, 2) for x, w in zip(flat, widths, strict=True))

    def _joined(self, y: Tensor, q: Tensor, width: int) -> Tensor:
        return (
            y.view(*q.shape[:-1], width) if self.num_heads is None else y.transpose(1, 2).reshape(*q.shape[:-1], -1)
        )

    def _mask(self, mask: Tensor | None, q: Tensor) -> Tensor | None:
        if mask is None or self.num_heads is not None:
            return mask if mask is None else spread(mask, q.shape[:-2])
        if q.dim() == 3:
            return mask.unsqueeze(1)
        if mask.dim() < q.dim():
            mask = mask.reshape(mask.shape[0], *(1,) * (q.dim() - mask.dim()), *mask.shape[1:])
        return mask.expand(*q.shape[:-3], *mask.shape[-3:]).flatten(0, -4)

    def extra_repr(self) -> str:
        return (
            f"dropout_p={self.dropout_p}, is_causal={self.is_causal}, scale={self.scale}, gqa={self.enable_gqa}, "
            f"num_heads={self.num_heads}"
        )


class MultiheadAttention(nn.MultiheadAttention):
    """torch's multi-head attention, with its weights, for tokens with any leading axes and one to three inputs.

    Shapes: (N, *, T, D), (N, *, S, kdim) and (N, *, S, vdim), then masks -> (N, *, T, D). `takes` are the names of
    the inputs. A mask of truth values is true where a key is hidden, as in torch's module. A head has `width` values,
    D / num_heads where it is None.
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
        head_dim: int | None = None,
        scale: float | None = None,
        rotary: RotaryEmbedding | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads if head_dim is None else 1, dropout, bias, kdim=kdim, vdim=vdim)
        self.batch_first, self.is_causal, self.takes = True, is_causal, tuple(takes)
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads or num_heads
        self.head_dim, self.scale, self.window = head_dim or embed_dim // num_heads, scale, window
        self.rotary = rotary
        if self.num_kv_heads != num_heads or self.head_dim * num_heads != embed_dim:
            self._resize()

    def _resize(self) -> None:
        """Draw the projections anew, with rows for the heads that there are."""
        d, inner, width = self.embed_dim, self.head_dim * self.num_heads, self.head_dim * self.num_kv_heads
        if self._qkv_same_embed_dim:
            self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inner + 2 * width, d)))
        else:
            self.q_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inner, d)))
            self.k_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, self.kdim)))
            self.v_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, self.vdim)))
        if self.in_proj_bias is not None:
            self.in_proj_bias = nn.Parameter(torch.zeros(inner + 2 * width))
        if inner != d:
            before = self.out_proj
            self.out_proj = type(before)(inner, d, bias=before.bias is not None)
            if before.bias is not None:
                nn.init.zeros_(self.out_proj.bias)

    def forward(self, *xs: Tensor) -> Tensor:  # type: ignore[override]
        masks, tokens = self._parted(xs)
        q, k, v = self._projected(*(x.flatten(0, -3) for x in tokens))
        if self.rotary is not None:
            q, k = self.rotary.of_heads(q), self.rotary.of_heads(k)
        mask = self._mask(xs[0], masks) if masks else None
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        y = self._attend(q, k, v, mask, is_causal=self.is_causal, window=self.window)
        made: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return made.view(xs[0].shape)

    def step(self, *xs: Tensor, cache: Cache) -> Tensor:
        """Attention of the next tokens to all so far, whose keys and values are kept, or to a memory.

        A memory is projected at the first step. Masks cover the next tokens and all keys so far.
        """
        masks, tokens = self._parted(xs)
        masks.pop(DOCUMENT, None)  # the next tokens are of the same document
        mask = self._mask(xs[0], masks) if masks else None
        start, cache.length = cache.length, cache.length + xs[0].shape[1]
        if len(tokens) == 1:
            q, k, v = self._projected(*tokens)
            if self.rotary is not None:
                q, k = self.rotary.of_heads(q, start), self.rotary.of_heads(k, start)
            keys, values = (cache.append(*new) for new in (("key", k.transpose(1, 2)), ("value", v.transpose(1, 2))))
            seen = lower_right(q.shape[1], keys.shape[-2], q.device, self.window)
            if seen is not None:
                mask = seen.expand(q.shape[0], 1, *seen.shape) if mask is None else both(mask, seen)
        else:
            q = self._split(F.linear(xs[0], *self._projections()[0]))
            if self.rotary is not None:
                q = self.rotary.of_heads(q, start)
            if not cache.held:
                _, k, v = self._projected(*tokens)
                k = k if self.rotary is None else self.rotary.of_heads(k)
                cache.held = {"key": k.transpose(1, 2), "value": v.transpose(1, 2)}
            keys, values = cache.held["key"], cache.held["value"]
        y = self._attend(q.transpose(1, 2), keys, values, mask)
        made: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return made

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
        grouped = self.num_kv_heads != self.num_heads
        p = self.dropout if self.training else 0.0
        return attend(q, k, v, mask, scale=self.scale, enable_gqa=grouped, dropout_p=p, **options)

    def _parted(self, xs: Sequence[Tensor]) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
        """Split the inputs into masks by name, and tokens."""
        masks = {name: x for name, x in zip(self.takes, xs, strict=False) if name in MASKS}
        return masks, xs[: len(xs) - len(masks)]

    def _mask(self, q: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
        """Return one mask for all attentions, (N, 1 or heads, T or 1, S): true where a key takes part, or added."""
        made = []
        for name, mask in masks.items():
            if name == DOCUMENT:
                made.append(spread(same_document(mask), q.shape[:-2]))
                continue
            each = spread(mask.unsqueeze(-2) if name == "key_padding_mask" else mask, q.shape[:-2])
            made.append(~each if each.dtype == torch.bool else each)
        return reduce(both, made)

    def _projected(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values: (N, T or S, heads, values of a head) each."""
        if len(xs) == 1:
            made = F.linear(xs[0], self.in_proj_weight, self.in_proj_bias).split_with_sizes(self._rows, -1)
        else:
            inputs = (xs[0], xs[1], xs[-1])
            made = tuple(F.linear(x, *own) for x, own in zip(inputs, self._projections(), strict=True))
        return tuple(self._split(x) for x in made)

    @property
    def _rows(self) -> tuple[int, int, int]:
        width = self.head_dim * self.num_kv_heads
        return self.head_dim * self.num_heads, width, width

    def _projections(self) -> list[tuple[Tensor, Tensor | None]]:
        """Return weight and bias of queries, keys and values."""
        own = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights = self.in_proj_weight.split_with_sizes(self._rows) if self._qkv_same_embed_dim else own
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.split_with_sizes(self._rows)
        return list(zip(weights, biases, strict=True))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim)


def masked(masks: Mapping[str, Tensor]) -> Tensor | None:
    """Return one mask of those given by name, true where a key takes part, or added; None of none."""
    made = [same_document(mask) if name == DOCUMENT else mask for name, mask in masks.items()]
    if len(made) == 2 and made[0].dim() > made[1].dim():  # (N, heads, T, S) beside (N, T, S)
        made[1] = made[1].unsqueeze(1)
    return reduce(both, made) if made else None
