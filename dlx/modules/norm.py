"""Normalisation layers that torch does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.nn.modules.batchnorm import _BatchNorm
else:
    _BatchNorm = nn.BatchNorm1d.__base__  # what torch's batch norms share has no public name

Affine = Literal["channel", "layer", "none"]


class ChannelsLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each position. Shapes: (N, C, *size) -> (N, C, *size)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Normalize(nn.Module):
    """x / max(||x||_p, eps) along `dim`. Shapes: (N, *) -> (N, *)."""

    def __init__(self, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> None:
        super().__init__()
        self.p, self.dim, self.eps = p, dim, eps

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, self.p, self.dim, self.eps)

    def extra_repr(self) -> str:
        return f"p={self.p}, dim={self.dim}, eps={self.eps}"


class GhostBatchNorm(_BatchNorm):
    """Batch norm over parts of at most `virtual_batch_size` samples, of sizes as equal as possible.

    The running averages are updated by one part after the other. Shapes: (N, C, *size) -> (N, C, *size).
    """

    def __init__(self, num_features: int, virtual_batch_size: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.virtual_batch_size = virtual_batch_size

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        parts = x.tensor_split(ceil(len(x) / self.virtual_batch_size))
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in parts])

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, virtual_batch_size={self.virtual_batch_size}"

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        """Accept any number of positions."""


class _Standardised(nn.Module):
    """Base class of batch norms with running averages of mean and standard deviation."""

    running_mean: Tensor
    running_std: Tensor

    def __init__(self, num_features: int, eps: float, momentum: float, affine: Affine) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        learned = 1 if affine == "layer" else num_features
        self.weight = nn.Parameter(torch.ones(learned)) if affine != "none" else None
        self.bias = nn.Parameter(torch.zeros(learned)) if affine != "none" else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_std", torch.ones(num_features))

    def _follow(self, mean: Tensor, std: Tensor) -> None:
        """Update the running averages with the statistics of a batch."""
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_std.lerp_(std.detach(), self.momentum)

    def _scaled(self, centred: Tensor, by: Tensor, plus: Tensor | None = None) -> Tensor:
        """Return `weight * (centred * by + plus) + bias`, with the values per channel combined first."""
        if self.weight is not None:
            by, plus = self.weight * by, None if plus is None else self.weight * plus
        if self.bias is not None:
            plus = self.bias if plus is None else self.bias + plus
        y = centred * along_channels(by, centred)
        return y if plus is None else y + along_channels(plus, centred)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


class BookBatchNorm(_Standardised):
    """y = weight * (x - m) / (s + eps) + bias, with the biased s; or with sqrt(s^2 + eps) as the denominator.

    Evaluation uses the running averages of m and s, or the statistics of a whole data set after
    `recompute_statistics`. Shapes: (N, C, *size) -> (N, C, *size).
    """

    def __init__(
        self, num_features: int, eps: float, momentum: float, affine: Affine, eps_in: Literal["std", "variance"]
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        self.eps_in = eps_in

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            centred, mean, var = _centred(x)
            std = _root(var)
            self._follow(mean, std)
        else:
            centred, std = x - along_channels(self.running_mean, x), self.running_std
        below = std + self.eps if self.eps_in == "std" else (std.square() + self.eps).sqrt()
        return self._scaled(centred, 1 / below)

    def set_statistics(self, mean: Tensor, var: Tensor) -> None:
        """Set the statistics from a mean and a biased variance."""
        self.running_mean.copy_(mean)
        self.running_std.copy_(var.sqrt())


class BatchRenorm(_Standardised):
    """Batch norm corrected to the running averages by r and d, which are clipped and get no gradient.

    The bounds are 1 and 0 (plain batch norm) for `plain` batches; then they grow linearly, to `rmax` at batch
    `rmax_at` and to `dmax` at batch `dmax_at`. Shapes: (N, C, *size) -> (N, C, *size).
    """

    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float,
        affine: bool,
        rmax: float,
        dmax: float,
        plain: int,
        rmax_at: int,
        dmax_at: int,
    ) -> None:
        super().__init__(num_features, eps, momentum, "channel" if affine else "none")
        self.rmax, self.dmax, self.plain, self.rmax_at, self.dmax_at = rmax, dmax, plain, rmax_at, dmax_at
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self._scaled(x - along_channels(self.running_mean, x), 1 / self.running_std)
        centred, mean, var = _centred(x)
        std = (var + self.eps).sqrt()
        r, d = self.correction(mean.detach(), std.detach())
        self._follow(mean, std)
        self.num_batches_tracked += 1
        return self._scaled(centred, r / std, d)

    def correction(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Return r and d for the statistics of a batch."""
        rmax = 1 + (self.rmax - 1) * self._grown(self.rmax_at)
        dmax = self.dmax * self._grown(self.dmax_at)
        r = (std / self.running_std).clamp(1 / rmax, rmax)
        d = ((mean - self.running_mean) / self.running_std).clamp(-dmax, dmax)
        return r, d

    def _grown(self, full_at: int) -> Tensor:
        """Return the progress of a bound, from 0 to 1."""
        way = (self.num_batches_tracked - self.plain) / max(full_at - self.plain, 1)
        return way.clamp(0, 1)

    def set_statistics(self, mean: Tensor, var: Tensor) -> None:
        """Set the statistics from a mean and a biased variance."""
        self.running_mean.copy_(mean)
        self.running_std.copy_((var + self.eps).sqrt())


class FrozenBatchNorm(nn.Module):
    """Batch norm whose scale, shift, mean and variance are all given. Shapes: (N, C, *size) -> (N, C, *size)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name, start in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]:
            self.register_buffer(name, torch.full((num_features,), start))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * along_channels(scale, x) + along_channels(shift, x)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


def recompute_statistics(network: nn.Module, batches: Callable[[], Iterable[Tensor | tuple[Tensor, ...]]]) -> int:
    """Set the statistics of every batch norm to those of a whole data set; return the number of norms.

    Arguments:
        network: left in evaluation mode.
        batches: called for each pass over the data; yields batches, a tensor, or a tuple for several inputs.

    The norms are set in the order in which they run, with one pass over the data for each, so that each sees the
    outputs of norms that are set already.

    Source: Prince 2023, Understanding Deep Learning, section 11.4: the statistics are computed across the whole
    training data set, and frozen.
    """
    network.eval()
    norms = _in_running_order(network, batches)
    for norm in norms:
        sums = _Sums()
        hook = norm.register_forward_pre_hook(lambda _, xs, sums=sums: sums.add(xs[0]))
        _run(network, batches())
        hook.remove()
        sums.into(norm)
    return len(norms)


@contextmanager
def statistics_of(network: nn.Module, *batch: Tensor) -> Iterator[None]:
    """Let every batch norm take the mean and variance of one batch within the context, as a step on it would.

    Arguments:
        network: in evaluation mode, in which it stays.
        batch: its inputs, (N, *shape) each.
    """
    norms = [module for module in network.modules() if is_batch_norm(module)]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    # each norm scales by what it was set to just before, so that norms behind it see this batch as in a step
    hooks = [norm.register_forward_pre_hook(lambda norm, xs: _set_to(norm, xs[0])) for norm in norms]
    try:
        _run(network, [batch])
        for hook in hooks:
            hook.remove()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, buffers in zip(norms, before, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module scales by statistics of a batch in training, and by kept ones in evaluation."""
    if isinstance(module, BookBatchNorm | BatchRenorm):
        return True
    return isinstance(module, _BatchNorm) and module.track_running_stats


def _set_to(norm: nn.Module, x: Tensor) -> None:
    """Set the statistics of a norm to those of a batch, with the biased variance that a training step takes."""
    var, mean = torch.var_mean(x, _all_but_channels(x), correction=0)
    if isinstance(norm, BookBatchNorm | BatchRenorm):
        norm.set_statistics(mean, var)
    elif isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


class _Sums:
    """Mean and sum of squared deviations over a data set, in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.square = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Add a batch (Chan et al. 1979)."""
        x = x.double()
        n = x.numel() // x.shape[1]
        var, mean = torch.var_mean(x, _all_but_channels(x), correction=0)
        away = mean - self.mean
        total = self.count + n
        self.mean = self.mean + away * n / total
        self.square = self.square + var * n + away.square() * self.count * n / total
        self.count = total

    def into(self, norm: nn.Module) -> None:
        if isinstance(norm, BookBatchNorm | BatchRenorm):
            norm.set_statistics(self.mean, self.square / self.count)
        elif isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.copy_(self.mean)
            norm.running_var.copy_(self.square / max(self.count - 1, 1))  # torch keeps the unbiased one


def _in_running_order(network: nn.Module, batches: Callable[[], Iterable[Any]]) -> list[nn.Module]:
    found: dict[nn.Module, None] = {}
    hooks = [
        module.register_forward_pre_hook(lambda module, _: found.setdefault(module))
        for module in network.modules()
        if is_batch_norm(module)
    ]
    _run(network, [next(iter(batches()))])
    for hook in hooks:
        hook.remove()
    return list(found)


@torch.no_grad()
def _run(network: nn.Module, batches: Iterable[Any]) -> None:
    for batch in batches:
        network(*(batch if isinstance(batch, tuple) else (batch,)))


def along_channels(values: Tensor, x: Tensor) -> Tensor:
    """Reshape one value per channel, or one for all, to broadcast along the channels of `x`."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _centred(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x minus the mean of each channel, that mean, and the biased variance."""
    mean = x.mean(_all_but_channels(x))
    centred = x - along_channels(mean, x)
    return centred, mean, centred.square().mean(_all_but_channels(x))


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.dim()))


def _root(var: Tensor) -> Tensor:
    """Return the square root, with gradient 0 instead of infinity at 0, where a channel is constant."""
    flat = var == 0
    return torch.where(flat, torch.ones_like(var), var).sqrt().masked_fill(flat, 0)
