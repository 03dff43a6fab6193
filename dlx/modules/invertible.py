"""Layers of normalising flows: they have an inverse, and give the logarithm of their volume change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..errors import Problem, SpecError
from .conv import CONV, CONVOLVE
from .lent import lender


@dataclass
class Pass:
    """How networks are called for a while: back, from z to x, or fitting what begins from data."""

    back: bool = False
    fits: bool = False
    log_dets: list[Tensor] = field(default_factory=list)
    """log |det| of each layer that was called, (N,) or ()."""

    def log_det(self, like: Tensor) -> Tensor:
        """Return the sum over the layers, of each example of `like` (N, ...)."""
        zero = like.new_zeros(like.shape[0])
        return sum(self.log_dets, zero)


CURRENT: ContextVar[Pass | None] = ContextVar("pass", default=None)


@contextmanager
def calls(*, back: bool = False, fits: bool = False) -> Iterator[Pass]:
    """Within the context invertible layers record their log-determinants; `back` runs networks from z to x."""
    made = Pass(back, fits)
    token = CURRENT.set(made)
    try:
        yield made
    finally:
        CURRENT.reset(token)


class Invertible(nn.Module):
    """Base class. A subclass has `transform`, from x to y with log |det dy/dx| of each example, and `inverse`."""

    def transform(self, x: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, y: Tensor, *more: Tensor) -> Tensor:
        raise NotImplementedError

    def fit(self, x: Tensor) -> None:
        """Set what begins from data, by the inputs of some examples."""

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        now = CURRENT.get()
        if now is None:
            return self.transform(x, *more)[0]
        if now.fits:
            self.fit(x)
        y, log_det = self.transform(x, *more)
        now.log_dets.append(log_det)
        return y


class ActNorm(Invertible):
    """y = x * exp(log_scale) + shift by channel. Shapes: (N, C, *), unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def _by_channel(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.log_scale.view(shape), self.shift.view(shape)

    def transform(self, x: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._by_channel(x)
        return x * log_scale.exp() + shift, self.log_scale.sum() * (x[0, 0].numel())

    def inverse(self, y: Tensor, *more: Tensor) -> Tensor:
        log_scale, shift = self._by_channel(y)
        return (y - shift) * (-log_scale).exp()

    def fit(self, x: Tensor) -> None:
        channels = x.movedim(1, 0).flatten(1)
        std = channels.std(1).clamp_min(1e-6)
        self.log_scale.copy_(-std.log())
        self.shift.copy_(-channels.mean(1) / std)


class Invertible1x1(Invertible):
    """Mix the channels of each position by a square matrix. Shapes: (N, C, *), unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])

    def transform(self, x: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
        log_det = torch.linalg.slogdet(self.matrix)[1] * x[0, 0].numel()
        return self._mixed(x, self.matrix), log_det

    def inverse(self, y: Tensor, *more: Tensor) -> Tensor:
        return self._mixed(y, torch.linalg.inv(self.matrix))

    def _mixed(self, x: Tensor, matrix: Tensor) -> Tensor:
        rank = x.dim() - 2
        if not rank:
            return F.linear(x, matrix)
        made: Tensor = CONVOLVE[rank](x, matrix.view(*matrix.shape, *[1] * rank))
        return made


class ReverseChannels(Invertible):
    """Turn the order of the channels around. Shapes: (N, C, *), unchanged."""

    def transform(self, x: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(())

    def inverse(self, y: Tensor, *more: Tensor) -> Tensor:
        return y.flip(1)


class AffineCoupling(Invertible):
    """Scale and shift some values by what a network makes of the others. Shapes: (N, C, *), unchanged."""

    def __init__(
        self,
        channels: int,
        positions: Sequence[int],
        hidden: Sequence[int],
        kernel: int,
        limit: float,
        mask: str,
        extra: int = 0,
    ) -> None:
        """`extra` is the size of a second input, a condition (N, extra), which the network sees too."""
        super().__init__()
        self.limit, self.rank = limit, len(positions)
        inner = nn.Sequential()
        width = channels + extra
        for size in hidden:
            inner.append(self._map(width, size, kernel)).append(nn.ReLU())
            width = size
        last: Any = self._map(width, 2 * channels, kernel)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.inner = inner.append(last)
        self.register_buffer("mask", _mask(mask, channels, positions), persistent=False)

    mask: Tensor

    def _map(self, before: int, after: int, kernel: int) -> nn.Module:
        if not self.rank:
            return nn.Linear(before, after)
        made: nn.Module = CONV[self.rank](before, after, kernel, padding="same")
        return made

    def _scale_and_shift(self, seen: Tensor, more: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return log scale and shift of the values that change, 0 of all others."""
        for one in more:
            shaped = one.view(*one.shape, *[1] * self.rank).expand(-1, -1, *seen.shape[2:])
            seen = torch.cat((seen, shaped), 1)
        log_scale, shift = self.inner(seen).chunk(2, 1)
        changes = 1 - self.mask
        return self.limit * (log_scale / self.limit).tanh() * changes, shift * changes

    def transform(self, x: Tensor, *more: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._scale_and_shift(x * self.mask, more)
        return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, *more: Tensor) -> Tensor:
        log_scale, shift = self._scale_and_shift(y * self.mask, more)
        return (y - shift) * (-log_scale).exp()


def _mask(kind: str, channels: int, positions: Sequence[int]) -> Tensor:
    """Return 1 where a coupling leaves a value as it is, which is what its network sees: (channels, *positions)."""
    if kind.startswith("checkerboard"):
        places = torch.meshgrid(*(torch.arange(n) for n in positions), indexing="ij")
        even = (torch.stack(places).sum(0) % 2 == 0).float().expand(channels, *positions)
        return even.clone() if kind == "checkerboard" else 1 - even
    first = (torch.arange(channels) < channels - channels // 2).float()
    seen = first if kind == "channels" else 1 - first
    return seen.view(channels, *[1] * len(positions))


INVERSES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.PixelUnshuffle: lambda module, y: F.pixel_shuffle(y, module.downscale_factor),
}
"""Inverses of modules of torch that only rearrange values."""


def both_ways(call: Callable[..., Any], network: nn.Module) -> Callable[..., Any]:
    """Return the call of a network that has layers of flows so that it runs back within `calls(back=True)`."""
    flows = any(isinstance(lender(module), Invertible) for module in network.modules())
    return BothWays(call, network) if flows else call


class BothWays:
    """A network that runs from x to z, and from z to x where it is called so."""

    def __init__(self, call: Callable[..., Any], network: Any) -> None:
        self.call, self.network = call, network

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        now = CURRENT.get()
        return self.call(*inputs, **named) if now is None or not now.back else self._back(*inputs, **named)

    def _back(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Return x of z; a condition beside it is as for the way there. SpecError for a layer without an inverse."""
        nodes = list(self.network.graph.nodes)
        names = [node.target for node in nodes if node.op == "placeholder"]
        values: dict[fx.Node, Tensor] = {}
        for node in nodes:
            if node.op == "placeholder":
                place = names.index(node.target)
                values[node] = inputs[place] if place < len(inputs) else named[node.target]
        path, (node,) = [], nodes[-1].args
        while node.op != "placeholder":
            path.append(node)
            node = node.args[0]
        z = values[node]
        for one in path:
            z = self._inverse(one, z, [self._forward(beside, values) for beside in one.args[1:]])
        return z

    def _forward(self, node: fx.Node, values: dict[fx.Node, Tensor]) -> Tensor:
        """Return the value of a node that does not depend on the main input, such as an embedding of the class."""
        if node not in values:
            arguments = [self._forward(one, values) for one in node.args if isinstance(one, fx.Node)]
            values[node] = self.network.get_submodule(str(node.target))(*arguments)
        return values[node]

    def _inverse(self, node: fx.Node, z: Tensor, more: Sequence[Tensor]) -> Tensor:
        module = lender(self.network.get_submodule(str(node.target)))
        if isinstance(module, Invertible):
            return module.inverse(z, *more)
        if type(module) in INVERSES:
            return INVERSES[type(module)](module, z)
        name = node.meta.get("node", node.name)
        message = f"the flow is not invertible: `{name}` has no inverse"
        hint = "Take `affine_coupling`, `actnorm`, `invertible_1x1`, `reverse_channels` and `pixel_unshuffle`."
        raise SpecError(Problem(message, hint, node.meta.get("mark"), f"network.layers.{name}"))
