"""Pooling that torch does not have, global, blurred and random; and that of windows, quicker without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POOL: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


FEWEST_VALUES = 16_384
"""Values of an input from which on whole strided slices are quicker than torch's pooling."""
FULL_VECTOR = 8
"""Channels, last in memory, that fill a vector of torch's kernel for means: fewer are added one by one."""


class _MaxPool(nn.Module):
    """Mixin of torch's max pooling that takes the maximum of strided slices where no gradient is wanted.

    torch's kernel on the CPU compares value by value to find where each maximum lies. The maximum of whole slices is
    vectorised, 4 to 14 times as fast (benchmarks/evaluation.py), and the same value to the last bit, NaN included; of
    0 and -0 in one window it may be the other one.
    """

    rank: ClassVar[int]

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.device.type != "cpu" or not self.by_slices(x):
            pooled: Tensor = super().forward(x)
            return pooled
        kernel, stride, padding, dilation = map(self._each, ("kernel_size", "stride", "padding", "dilation"))
        return largest_of_windows(x, kernel, stride, padding, dilation)

    def by_slices(self, x: Tensor) -> bool:
        """Return whether slices are quicker for an input.

        In channels_last torch is vectorised over many channels, and slices of windows that overlap cost more.
        """
        # in what is exported or compiled, a choice by the size would hold for the sizes of that moment
        if type(x) is not Tensor or torch.compiler.is_compiling() or x.dim() != self.rank + 2:
            return False
        # a window of one value is a slice alone, which would share memory with the input
        if self.ceil_mode or 1 in self._each("kernel_size") or not x.is_floating_point() or x.numel() < FEWEST_VALUES:
            return False
        last = self.rank == 2 and x.is_contiguous(memory_format=torch.channels_last)
        return x.is_contiguous() or (
            last and all(s >= k for k, s in zip(self._each("kernel_size"), self._each("stride"), strict=True))
        )

    def _each(self, name: str) -> tuple[int, ...]:
        """Return an option of torch's pooling for each axis."""
        value: Any = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self.rank


class MaxPool1d(_MaxPool, nn.MaxPool1d):
    """torch's MaxPool1d."""

    rank = 1


class MaxPool2d(_MaxPool, nn.MaxPool2d):
    """torch's MaxPool2d."""

    rank = 2


class MaxPool3d(_MaxPool, nn.MaxPool3d):
    """torch's MaxPool3d."""

    rank = 3


class AvgPool2d(nn.AvgPool2d):
    """torch's AvgPool2d, which adds strided slices where no gradient is wanted and few channels are last in memory.

    With 6 channels that takes 0.7 of the time (benchmarks/evaluation.py). torch adds the values of a window in the
    same order: the result is the same to the last bit, but that of negative zeros alone is one too.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.device.type != "cpu" or not self.by_slices(x):
            pooled: Tensor = super().forward(x)
            return pooled
        (high, wide), (down, right) = _pair(self.kernel_size), _pair(self.stride)
        bottom, end = x.shape[2] - high + 1, x.shape[3] - wide + 1
        slices = [x[:, :, i : i + bottom : down, j : j + end : right] for i in range(high) for j in range(wide)]
        total = slices[0] + slices[1]
        for one in slices[2:]:
            total += one
        return total.div_(high * wide)

    def by_slices(self, x: Tensor) -> bool:
        """Return whether slices are quicker for an input, and have the bits of torch's kernel."""
        # in what is exported or compiled, a choice by the size would hold for the sizes of that moment
        if type(x) is not Tensor or torch.compiler.is_compiling() or x.dim() != 4:
            return False
        if self.ceil_mode or self.divisor_override is not None:
            return False
        kernel, stride = _pair(self.kernel_size), _pair(self.stride)
        apart = all(1 <= taps <= step for taps, step in zip(kernel, stride, strict=True)) and kernel != (1, 1)
        inside = not any(_pair(self.padding)) and all(k <= n for k, n in zip(kernel, x.shape[2:], strict=True))
        # numbers of fewer bits torch adds in float32
        whole = x.dtype in {torch.float32, torch.float64} and x.numel() >= FEWEST_VALUES and apart and inside
        last = x.shape[1] < FULL_VECTOR and x.is_contiguous(memory_format=torch.channels_last)
        return whole and last and not x.is_contiguous()


def _pair(value: Any) -> tuple[int, int]:
    """Return an option of torch's pooling of images for both axes."""
    return (value, value) if isinstance(value, int) else tuple(value)


def largest_of_windows(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Return the maximum of each window, axis by axis. Shapes: (N, C, *size) -> (N, C, *size')."""
    if any(padding):
        x = F.pad(x, [side for one in reversed(padding) for side in (one, one)], value=float("-inf"))
    for axis, (taps, step, between) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
        last = x.shape[axis] - between * (taps - 1)
        slices = [_every(x, axis, i * between, i * between + last, step) for i in range(taps)]
        x = slices[0] if taps == 1 else torch.maximum(slices[0], slices[1])
        for one in slices[2:]:
            torch.maximum(x, one, out=x)
    return x


def _every(x: Tensor, axis: int, begin: int, end: int, step: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(begin, end, step),)]


class GlobalAvgPool(nn.Module):
    """The mean over all positions. Shapes: (N, C, *size) -> (N, C), or (N, C, 1, ...) with `keepdim`."""

    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(tuple(range(2, x.dim())), keepdim=self.keepdim)

    def extra_repr(self) -> str:
        return f"keepdim={self.keepdim}"


class GlobalMaxPool(nn.Module):
    """The maximum over all positions. Shapes: (N, C, *size) -> (N, C), or (N, C, 1, ...) with `keepdim`."""

    def __init__(self, keepdim: bool = False) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(tuple(range(2, x.dim())), keepdim=self.keepdim)

    def extra_repr(self) -> str:
        return f"keepdim={self.keepdim}"


class MaxBlurPool(nn.Module):
    """The largest of each window, then a binomial blur with a stride. Shapes: (N, C, *size) -> (N, C, *size')."""

    blur: Tensor

    def __init__(self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], blur_size: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = tuple(kernel), tuple(stride), tuple(padding)
        self.sides = [(blur_size - 1) // 2, blur_size // 2] * len(kernel)
        line = torch.tensor([float(comb(blur_size - 1, i)) for i in range(blur_size)]) / 2.0 ** (blur_size - 1)
        blur = line
        for _ in kernel[1:]:
            blur = blur.unsqueeze(-1) * line
        self.register_buffer("blur", blur[None, None])

    def forward(self, x: Tensor) -> Tensor:
        rank, channels = len(self.kernel), x.shape[1]
        x = F.pad(POOL[rank](x, self.kernel, 1, self.padding), self.sides, "reflect")
        blur = self.blur.expand(channels, *self.blur.shape[1:])
        made: Tensor = CONVOLVE[rank](x, blur, stride=self.stride, groups=channels)
        return made

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel}, stride={self.stride}, padding={self.padding}"


class StochasticPool(nn.Module):
    """A sampled value of each window, or the expected value. Shapes: (N, C, *size) -> (N, C, *size')."""

    def __init__(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        values = windows(x.clamp(min=0), self.kernel, self.stride)
        if not self.training:
            total = values.sum(-1)
            return values.square().sum(-1) / total.where(total > 0, 1)
        with torch.no_grad():  # the first of exponential clocks that run as fast as the values are large
            chosen = (values / torch.empty_like(values).exponential_()).argmax(-1, keepdim=True)
        return values.gather(-1, chosen).squeeze(-1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel}, stride={self.stride}"


class MaxPoolDropout(nn.Module):
    """Maximum of each window over values not dropped, or its expectation. Shapes: (N, C, *size) -> (N, C, *size')."""

    def __init__(self, kernel: Sequence[int], stride: Sequence[int], p: float = 0.5) -> None:
        super().__init__()
        self.kernel, self.stride, self.p = tuple(kernel), tuple(stride), p

    def forward(self, x: Tensor) -> Tensor:
        values = windows(x.clamp(min=0), self.kernel, self.stride)
        if self.training:
            return values.masked_fill(torch.rand_like(values) < self.p, 0).max(-1).values
        falling = values.sort(-1, descending=True).values
        weights = (1 - self.p) * self.p ** torch.arange(falling.shape[-1], device=x.device, dtype=x.dtype)
        return (falling * weights).sum(-1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel}, stride={self.stride}, p={self.p}"


def windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return the values in each window on a new last axis. Shapes: (N, C, *size) -> (N, C, *size', taps)."""
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), start=2):
        x = x.unfold(axis, k, s)
    return x.flatten(-len(kernel))
