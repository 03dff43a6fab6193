"""Positions of tokens."""

from __future__ import annotations

from math import log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .steps import Cache


class PositionalEncoding(nn.Module):
    """Add sines and cosines of the position. Shapes: (N, *, T, D), unchanged."""

    table: Tensor

    def __init__(self, tokens: int, width: int, base: float = 10_000.0, halves: bool = False) -> None:
        super().__init__()
        self.width, self.base, self.halves = width, base, halves
        self.register_buffer("table", self._rows(0, tokens), persistent=False)

    def _rows(self, start: int, stop: int) -> Tensor:
        pairs = -(-self.width // 2)
        angles = _angles(start, stop, 2 * pairs, self.base)
        if self.halves:
            joined = torch.cat((angles.sin(), angles.cos()[:, : self.width - pairs]), 1)
        else:
            joined = torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[:, : self.width]
        return joined.to(torch.get_default_dtype())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[-2]]

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        start, stop = cache.length, cache.length + x.shape[-2]
        cache.length = stop
        return x + (self.table[start:stop] if stop <= len(self.table) else self._rows(start, stop).to(self.table))

    def extra_repr(self) -> str:
        return f"{len(self.table)}, {self.width}, base={self.base}, halves={self.halves}"


class PositionEmbedding(nn.Module):
    """Add a learned vector for each position. Shapes: (N, *, T, D), unchanged."""

    def __init__(self, length: int, width: int, std: float = 0.02) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(length, width))
        if std:
            nn.init.normal_(self.value, 0, std)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.value[: x.shape[-2]]

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        start, cache.length = cache.length, cache.length + x.shape[-2]
        return x + self.value[start : cache.length]

    def extra_repr(self) -> str:
        return f"{len(self.value)}, {self.value.shape[1]}"


class TimestepEmbedding(nn.Module):
    """Sines, then cosines, of a number at falling frequencies. Shapes: (N,) or (N, 1) -> (N, width)."""

    frequencies: Tensor

    def __init__(self, width: int, base: float = 10_000.0) -> None:
        super().__init__()
        frequencies = _angles(1, 2, width, base)[0]
        self.register_buffer("frequencies", frequencies.to(torch.get_default_dtype()), persistent=False)

    def forward(self, time: Tensor) -> Tensor:
        angles = time.reshape(-1, 1) * self.frequencies
        return torch.cat((angles.sin(), angles.cos()), 1)


class RotaryEmbedding(nn.Module):
    """Rotate pairs of values by angles of the position.

    Shapes: (N, *, T, d), unchanged; with `num_heads` (N, *, T, D), in heads. `turning` values of each turn.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        tokens: int,
        turning: int,
        base: float = 10_000.0,
        interleaved: bool = False,
        num_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.turning, self.base, self.interleaved, self.num_heads = turning, base, interleaved, num_heads
        angles = _angles(0, tokens, turning, base)
        for name, values in (("cos", angles.cos()), ("sin", angles.sin())):
            self.register_buffer(name, values.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """`start` is the position of the first token."""
        if self.num_heads:
            return self.of_heads(x.view(*x.shape[:-1], self.num_heads, -1), start).flatten(-2)
        return self._turned(x, *self._at(start, start + x.shape[-2]))

    def of_heads(self, x: Tensor, start: int = 0) -> Tensor:
        """Turn (N, *, T, heads, d), in which the heads of a token lie side by side."""
        cos, sin = self._at(start, start + x.shape[-3])
        return self._turned(x, cos.unsqueeze(1), sin.unsqueeze(1))

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        start, cache.length = cache.length, cache.length + x.shape[-2]
        return self.forward(x, start)

    def _at(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        if stop <= len(self.cos):
            return self.cos[start:stop], self.sin[start:stop]
        angles = _angles(start, stop, self.turning, self.base)
        return angles.cos().to(self.cos), angles.sin().to(self.sin)

    def _turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.turning < x.shape[-1]:
            first, rest = x.split_with_sizes((self.turning, x.shape[-1] - self.turning), -1)
            return torch.cat((self._turned(first, cos, sin), rest), -1)
        if self.interleaved:
            a, b = x.view(*x.shape[:-1], -1, 2).unbind(-1)
            return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def extra_repr(self) -> str:
        return f"{self.turning}, base={self.base}, interleaved={self.interleaved}, num_heads={self.num_heads}"


class ALiBi(nn.Module):
    """-slope * distance for each head, query and key. Shapes: (N, T, *) and (N, S, *) -> (N, heads, T, S)."""

    slopes: Tensor

    def __init__(self, heads: int, queries: int, keys: int) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.tensor(_slopes(heads)), persistent=False)
        self.queries, self.keys = queries, keys

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        made = self._rows(torch.arange(self.queries, device=self.slopes.device), self.keys)
        return made.expand(x.shape[0], *made.shape)

    def step(self, x: Tensor, *memory: Tensor, cache: Cache) -> Tensor:
        start, cache.length = cache.length, cache.length + x.shape[1]
        rows = torch.arange(start, cache.length, device=self.slopes.device)
        made = self._rows(rows, memory[0].shape[1] if memory else cache.length)
        return made.expand(x.shape[0], *made.shape)

    def _rows(self, queries: Tensor, keys: int) -> Tensor:
        apart = (queries.unsqueeze(1) - torch.arange(keys, device=queries.device)).abs()
        return -self.slopes.view(-1, 1, 1) * apart

    def extra_repr(self) -> str:
        return f"{len(self.slopes)}"


class RelativeAttentionBias(nn.Module):
    """A learned value for each bucket of distances. Shapes: (N, T, *) and (N, S, *) -> (N, heads, T, S)."""

    buckets: Tensor

    def __init__(
        self,
        heads: int,
        tokens: tuple[int, int],
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        std: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(num_buckets, heads), 0, std))
        self.max_distance, self.bidirectional = max_distance, bidirectional
        self.register_buffer("buckets", self._buckets(torch.arange(tokens[0]), tokens[1]), persistent=False)

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        return self._values(x, self.buckets)

    def step(self, x: Tensor, *memory: Tensor, cache: Cache) -> Tensor:
        start, cache.length = cache.length, cache.length + x.shape[1]
        rows = torch.arange(start, cache.length, device=self.weight.device)
        return self._values(x, self._buckets(rows, memory[0].shape[1] if memory else cache.length))

    def _values(self, x: Tensor, buckets: Tensor) -> Tensor:
        made = F.embedding(buckets, self.weight).permute(2, 0, 1)
        return made.expand(x.shape[0], *made.shape)

    def _buckets(self, queries: Tensor, keys: int) -> Tensor:
        """Return the bucket of each query and key: (T, S)."""
        apart = torch.arange(keys, device=queries.device) - queries.unsqueeze(1)
        count, first = len(self.weight), torch.zeros_like(apart)
        if self.bidirectional:
            count //= 2
            first, apart = count * (apart > 0), apart.abs()
        else:
            apart = (-apart).clamp_min(0)
        exact = count // 2
        # in float32 as transformers computes it: at 8, 16, ... the quotient of logarithms is a whole number
        far = (apart.float().clamp_min(1) / exact).log() / torch.tensor(self.max_distance / exact).log()
        spaced = (exact + (far * (count - exact)).long()).clamp_max(count - 1)
        return first + torch.where(apart < exact, apart, spaced)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, buckets={len(self.weight)}, max_distance={self.max_distance}"


def _angles(start: int, stop: int, width: int, base: float) -> Tensor:
    """Return t / base^(2i / width) for the tokens t and the pairs i, in float64: (stop - start, width / 2)."""
    pairs = torch.arange(0, width, 2, dtype=torch.float64) / width
    return torch.arange(start, stop, dtype=torch.float64).unsqueeze(1) * base**-pairs


def _slopes(heads: int) -> list[float]:
    """Return the slopes of ALiBi: of a power of two in geometric order, else with some of the next power between."""
    lower = 2 ** int(log2(heads))
    first = [2 ** (-8 * (i + 1) / lower) for i in range(lower)]
    return first if lower == heads else first + _slopes(2 * lower)[::2][: heads - lower]
