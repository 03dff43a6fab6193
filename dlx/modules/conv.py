"""Convolutions that torch does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .recurrent import packed
from .steps import Cache

CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class CausalConv(nn.Conv1d):
    """torch's, of positions up to the own one. Shapes: (N, C, T) -> (N, out, T'), with T' = T for a stride of 1."""

    def __init__(self, in_channels: int, padding_mode: str = "zeros", **options: Any) -> None:
        super().__init__(in_channels, **options)
        self.before = self.dilation[0] * (self.kernel_size[0] - 1)
        self.mode = "constant" if padding_mode == "zeros" else padding_mode

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.before, 0), self.mode) if self.before else x)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """Of the next positions; the last ones that a later position sees are kept. For a stride of 1."""
        held = cache.held.get("before")
        seen = F.pad(x, (self.before, 0), self.mode) if held is None else torch.cat((held, x), -1)
        cache.held = {"before": seen[..., seen.shape[-1] - self.before :]}
        return super().forward(seen)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, before={self.before}"  # type: ignore[no-untyped-call]


class SeparableConv(nn.Module):
    """A 1x1 convolution across channels, then one along each axis. Shapes: (N, C, *size) -> (N, out, *size')."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int] | str,
        dilation: Sequence[int],
        bias: bool = True,
    ) -> None:
        super().__init__()
        rank = len(kernel)
        self.mix = CONV[rank](in_channels, out_channels, 1, bias=False)
        self.along = nn.Sequential()

        def only(values: Sequence[int], axis: int, rest: int) -> tuple[int, ...]:
            return tuple(v if a == axis else rest for a, v in enumerate(values))

        for axis in range(rank):
            self.along.append(
                CONV[rank](
                    out_channels,
                    out_channels,
                    only(kernel, axis, 1),
                    only(stride, axis, 1),
                    padding if isinstance(padding, str) else only(padding, axis, 0),
                    only(dilation, axis, 1),
                    groups=out_channels,
                    bias=bias and axis == rank - 1,
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.along(self.mix(x))
        return made


class GatedConv(nn.Module):
    """features(x) * sigmoid(gate(x)). Shapes: (N, C, *size) -> (N, out, *size')."""

    def __init__(self, features: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.features, self.gate = features, gate

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.features(x) * self.gate(x).sigmoid()
        return made


class PartialConv(nn.Module):
    """A convolution of the known values, scaled by (values in a window) / (known values).

    Shapes: x (N, C, *size) and mask (N, C or 1, *size) -> (N, out, *size').
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.packs = False
        """Whether the mask of the output is packed behind it: (N, values of both)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        mask = mask.detach()
        places = (self.stride, self.padding, self.dilation)
        convolve = CONVOLVE[x.dim() - 2]
        ones = torch.ones_like(self.weight[:1, : mask.shape[1]])
        known: Tensor = convolve(mask, ones, None, *places)
        scale = torch.where(known > 0, ones.numel() / known, 0)
        made: Tensor = convolve(x * mask, self.weight, None, *places) * scale
        if self.bias is not None:
            made = made + self.bias.view(-1, *(1,) * (x.dim() - 2)) * (known > 0)
        return packed(made, (known > 0).to(made.dtype)) if self.packs else made

    def extra_repr(self) -> str:
        out, into, *kernel = self.weight.shape
        return f"{into}, {out}, kernel_size={tuple(kernel)}, stride={self.stride}, padding={self.padding}"
