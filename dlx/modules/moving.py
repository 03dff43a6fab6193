"""Modules with a number that moves over a training: it lies in a buffer, which recorded steps read too."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from ..schedules.values import ValueOverTime


class Moving(nn.Module):
    """Base class. `value` is the number, in a buffer that no checkpoint has; `over_time` says what it is when."""

    value: Tensor

    def __init__(self, field: str, over_time: ValueOverTime) -> None:
        super().__init__()
        self.field, self.over_time = field, over_time
        self.register_buffer("value", torch.tensor(float(over_time.start)), persistent=False)

    def extra_repr(self) -> str:
        return f"{self.field}: {self.over_time}"


class MovingDropout(Moving):
    """x * b / (1 - p) in training, with b = 0 with a probability p that moves, and else 1. Shapes: (N, *) -> (N, *).

    `shared` are the axes along which all values have one b, of a batch.
    """

    def __init__(self, over_time: ValueOverTime, shared: Collection[int] = ()) -> None:
        super().__init__("p", over_time)
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = [1 if axis in self.shared else size for axis, size in enumerate(x.shape)]
        stays = (torch.rand(shape, dtype=x.dtype, device=x.device) >= self.value).to(x.dtype)
        return x * (stays / (1 - self.value).clamp_min(1e-7))


class MovingNoise(Moving):
    """x + std * e, or x * (1 + std * e), with e normal and an std that moves; x itself in evaluation."""

    def __init__(self, over_time: ValueOverTime, relative: bool = False) -> None:
        super().__init__("std", over_time)
        self.relative = relative

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        noise = torch.randn_like(x) * self.value
        return x * (1 + noise) if self.relative else x + noise
