"""Sizes of gradients and updates, layer by layer, at the points of the loss curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

GRADIENT, UPDATE = "gradient/", "update/"
"""Beginnings of their names in a point of the curve, before the layer."""


class UpdateScales:
    """The norm of the gradient of each layer, and of its update over that of its weights before it.

    Both are computed on the device and stay there until a point of the curve is written. A gradient is what the
    optimizer takes, clipped where the spec clips; of a layer that a step did not move, the last one.
    """

    def __init__(self, module: nn.Module) -> None:
        named = [(name, one) for name, one in module.named_parameters() if one.requires_grad]
        self.layers = list(dict.fromkeys(_layer(name) for name, _ in named))
        """Names of the layers, as the graph has them."""
        self.weights: list[Tensor] = [one for _, one in named]
        place = [self.layers.index(_layer(name)) for name, _ in named]
        self.place = torch.tensor(place, device=self.weights[0].device) if named else torch.empty(0)
        self.earlier: list[Tensor] = []
        self.pending: dict[int, Tensor] = {}
        """Of each point that is not written yet, the values (2, layers) on the device, by its step."""

    def before(self) -> None:
        """Copy the weights, before an update whose sizes are wanted."""
        self.earlier = [one.detach().clone() for one in self.weights]

    def after(self, step: int) -> None:
        """Compute the sizes of the update that has been taken, which is that of a step."""
        with torch.no_grad():
            gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.weights]
            moved = [now - earlier for now, earlier in zip(self.weights, self.earlier, strict=True)]
            gradient, update, weight = (self._norms(each) for each in (gradients, moved, self.earlier))
            self.pending[step] = torch.stack([gradient, update / weight])
        self.earlier = []

    def _norms(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the norm over all weights of each layer (layers,)."""
        squares = torch.stack([torch.linalg.vector_norm(one) for one in tensors]).float().square()
        return squares.new_zeros(len(self.layers)).index_add_(0, self.place, squares).sqrt()

    def written(self, step: int) -> Mapping[str, float]:
        """Return the sizes of the update of a step by their names in a point of the curve; nothing where none is
        wanted."""
        found = self.pending.pop(step, None)
        if found is None:
            return {}
        gradient, update = found.tolist()
        return {
            **{f"{GRADIENT}{name}": value for name, value in zip(self.layers, gradient, strict=True)},
            # of weights that are all zero there is no relative size
            **{f"{UPDATE}{name}": value for name, value in zip(self.layers, update, strict=True) if isfinite(value)},
        }


def _layer(name: str) -> str:
    """Return the layer of a parameter: `block_1/conv_1` of `block_1.conv_1.weight`."""
    return (name.rpartition(".")[0] or name).replace(".", "/")
