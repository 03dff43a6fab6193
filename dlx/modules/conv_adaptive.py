"""Convolutions whose taps or whose filters depend on the input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import CONVOLVE

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class DeformableConv(nn.Module):
    """A convolution of an image at moved taps. Shapes: (N, C, H, W) -> (N, out, H', W').

    `offset_weight` gives, for each deformable group, (down, right) of each tap; then the weight of each tap.
    """

    grid: Tensor

    def __init__(self, conv: nn.Module, deformable_groups: int = 1, modulated: bool = True) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d)
        self.weight, self.bias = conv.weight, conv.bias
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.padding, self.dilation, self.groups = conv.padding, conv.dilation, conv.groups
        self.deformable_groups, self.modulated = deformable_groups, modulated
        channels = deformable_groups * conv.kernel_size[0] * conv.kernel_size[1] * (3 if modulated else 2)
        self.offset_weight = nn.Parameter(torch.zeros(channels, conv.in_channels, *conv.kernel_size))
        self.offset_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        predicted = F.conv2d(x, self.offset_weight, self.offset_bias, self.stride, self.padding, self.dilation)
        if not self.modulated:
            return self.convolved(x, predicted)
        offset, weight = predicted.tensor_split((predicted.shape[1] // 3 * 2,), 1)
        return self.convolved(x, offset, weight.sigmoid())

    def convolved(self, x: Tensor, offset: Tensor, weight: Tensor | None = None) -> Tensor:
        """Convolve with given offsets (N, groups * taps * 2, H', W') and weights (N, groups * taps, H', W')."""
        n, c, *size = x.shape
        (kh, kw), (h, w) = self.kernel_size, offset.shape[2:]
        each = n * self.deformable_groups
        down, right = offset.reshape(each, kh, kw, 2, h, w).permute(3, 0, 4, 1, 5, 2).unbind()  # (each, h, kh, w, kw)
        rows = self._places(0, h, x).unsqueeze(-1).unsqueeze(-1) + down
        columns = self._places(1, w, x) + right
        # grid_sample counts from -1 at the outer edge of the first position to 1 at that of the last
        grid = torch.stack([(2 * columns + 1) / size[1] - 1, (2 * rows + 1) / size[0] - 1], -1)
        images = x.reshape(each, c // self.deformable_groups, *size)
        read = F.grid_sample(images, grid.view(each, h * kh, w * kw, 2), align_corners=False)
        if weight is not None:
            weight = weight.reshape(each, 1, kh, kw, h, w).permute(0, 1, 4, 2, 5, 3)
            read = read.view(each, -1, h, kh, w, kw) * weight
        # each stop has its taps side by side: a convolution whose stops do not overlap multiplies them
        taps = read.reshape(n, c, h * kh, w * kw)
        return F.conv2d(taps, self.weight, self.bias, self.kernel_size, groups=self.groups)

    def _places(self, axis: int, stops: int, x: Tensor) -> Tensor:
        """Return the position of each tap of each stop along an axis, before it is moved: (stops, taps)."""
        stop = torch.arange(stops, device=x.device, dtype=x.dtype) * self.stride[axis] - int(self.padding[axis])
        tap = torch.arange(self.kernel_size[axis], device=x.device, dtype=x.dtype) * self.dilation[axis]
        return stop[:, None] + tap

    def extra_repr(self) -> str:
        out, into = self.weight.shape[0], self.weight.shape[1] * self.groups
        return f"{into}, {out}, kernel_size={self.kernel_size}, stride={self.stride}, modulated={self.modulated}"


class _MixedConv(nn.Module):
    """A convolution with filters of its own for each sample. Shapes: (N, C, *size) -> (N, out, *size')."""

    def __init__(self, conv: nn.Module, count: int) -> None:
        super().__init__()
        assert isinstance(conv, CONVOLUTIONS)
        self.weight = nn.Parameter(conv.weight.detach().repeat(count, *(1,) * conv.weight.dim()))
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().repeat(count, 1))
        for i in range(count):  # each begins as the convolution alone would, drawn by itself
            conv.reset_parameters()
            self.weight.data[i] = conv.weight.detach()
            if self.bias is not None and conv.bias is not None:
                self.bias.data[i] = conv.bias.detach()
        self.options: dict[str, Any] = {name: getattr(conv, name) for name in ("stride", "padding", "dilation")}
        self.groups, self.in_channels = conv.groups, conv.in_channels

    def mixture(self, x: Tensor) -> Tensor:
        """Return how much of each filter each sample gets: (N, count)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        n, parts = x.shape[0], self.mixture(x)
        filters = (parts @ self.weight.flatten(1)).view(-1, *self.weight.shape[2:])
        bias = None if self.bias is None else (parts @ self.bias).flatten()
        # one convolution with a group for each sample
        image = x.reshape(1, -1, *x.shape[2:])
        made: Tensor = CONVOLVE[x.dim() - 2](image, filters, bias, groups=n * self.groups, **self.options)
        return made.view(n, -1, *made.shape[2:])

    def extra_repr(self) -> str:
        count, out, into, *kernel = self.weight.shape
        return f"{into * self.groups}, {out}, kernel_size={tuple(kernel)}, count={count}"


class CondConv(_MixedConv):
    """Filters mixed by sigmoid(router(mean of x)). Shapes: (N, C, *size) -> (N, out, *size')."""

    def __init__(self, conv: nn.Module, num_experts: int) -> None:
        super().__init__(conv, num_experts)
        self.router = nn.Linear(self.in_channels, num_experts)

    def mixture(self, x: Tensor) -> Tensor:
        scores: Tensor = self.router(x.flatten(2).mean(2))
        return scores.sigmoid()


class DynamicConv(_MixedConv):
    """Filters mixed by softmax(attend(relu(squeeze(mean of x))) / temperature).

    Shapes: (N, C, *size) -> (N, out, *size').
    """

    def __init__(self, conv: nn.Module, num_kernels: int, inside: int, temperature: float = 30.0) -> None:
        super().__init__(conv, num_kernels)
        self.squeeze = nn.Linear(self.in_channels, inside, bias=False)
        self.attend = nn.Linear(inside, num_kernels)
        self.temperature = temperature

    def mixture(self, x: Tensor) -> Tensor:
        scores: Tensor = self.attend(self.squeeze(x.flatten(2).mean(2)).relu())
        return (scores / self.temperature).softmax(1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, temperature={self.temperature}"
