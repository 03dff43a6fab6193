"""Losses that layers add to the training loss, such as the one that balances experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AuxiliaryLoss(nn.Module):
    """Base class of modules that have a term of their own in the training loss.

    `forward` calls `add` with a scalar; who trains the network takes the sum of all by `AuxiliaryLosses`.
    """

    auxiliary: Tensor | None = None

    def add(self, loss: Tensor) -> None:
        """Add a scalar to the training loss of this forward pass; in evaluation, and without gradients, nothing."""
        if self.training and torch.is_grad_enabled():
            self.auxiliary = loss if self.auxiliary is None else self.auxiliary + loss


class AuxiliaryLosses:
    """The terms that the modules of a network add to its training loss."""

    def __init__(self, network: nn.Module) -> None:
        self.modules = [module for module in network.modules() if isinstance(module, AuxiliaryLoss)]

    def __bool__(self) -> bool:
        return bool(self.modules)

    def clear(self) -> None:
        """Forget what a forward pass has left that nobody trained on."""
        for module in self.modules:
            module.auxiliary = None

    def total(self) -> Tensor:
        """Return the sum since `clear`, a scalar, and forget it."""
        terms = [module.auxiliary for module in self.modules if module.auxiliary is not None]
        self.clear()
        return sum(terms[1:], terms[0]) if terms else torch.zeros(())
