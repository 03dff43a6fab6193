"""Modules of another network that a network runs: they stay where they are, and are no part of this one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Lent(nn.Module):
    """A module of another network, which this one runs with its own inputs.

    It is no child: `parameters`, `state_dict`, `to`, `train` and `eval` of this network leave it to the other one.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.owner = (module,)  # in a tuple, where torch does not look for modules
        self.packs = False
        """Whether it gives states beside its output here; in the other network it does as it did."""

    def forward(self, *inputs: Tensor) -> Any:
        module: Any = self.owner[0]
        was = getattr(module, "packs", False)
        if was == self.packs:
            return module(*inputs)
        module.packs = self.packs
        try:
            return module(*inputs)
        finally:
            module.packs = was


class LentWeight(nn.Module):
    """The weight of a module of another network, which a tied layer of this one runs."""

    def __init__(self, lent: nn.Module) -> None:
        super().__init__()
        self.lent = (lent,)

    def forward(self) -> Tensor:
        module: Any = lender(self.lent[0])
        weight: Tensor = module.weight
        return weight


def lender(module: nn.Module) -> nn.Module:
    """Return the module that runs: that of another network where this one is lent."""
    owner: nn.Module = module.owner[0] if isinstance(module, Lent) else module
    return owner
