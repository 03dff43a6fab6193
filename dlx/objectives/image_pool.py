"""Samples of earlier steps, which a discriminator is shown again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class ImagePool:
    """Up to `size` samples: each new one is given on as it is or in exchange for an earlier one, both equally often.

    Source: Shrivastava et al. 2017, arXiv:1612.07828, section 2.3; a batch exchanges each kept sample once at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.held: Tensor | None = None
        """The samples (n, *shape), n up to `size`."""

    def exchange(self, made: Tensor, rng: torch.Generator) -> Tensor:
        """Keep samples (N, *shape), and return as many, some of them earlier ones.

        Until the pool is full they are kept and returned as they are.
        """
        if not self.size:
            return made
        missing = self.size - (0 if self.held is None else len(self.held))
        fresh = made[:missing]
        if len(fresh):
            self.held = fresh.clone() if self.held is None else torch.cat([self.held, fresh])
        rest = made[missing:] if missing else made
        if not len(rest) or self.held is None:
            return made
        swaps = torch.rand(len(rest), generator=rng)[: self.size] < 0.5
        places = torch.randperm(self.size, generator=rng)[: len(rest)]
        new, old = swaps.nonzero().flatten().to(made.device), places[swaps].to(made.device)
        found = rest.clone()
        found[new] = self.held[old]
        self.held = self.held.index_copy(0, old, rest[new])
        return torch.cat([fresh, found]) if len(fresh) else found

    def state(self) -> Mapping[str, Any]:
        """Return the samples, None before the first."""
        return {"held": self.held}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.held = state["held"]
