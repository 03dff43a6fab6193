"""Additions to the scores of attention within windows."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


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
