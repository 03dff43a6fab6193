"""The examples of a bootstrap: as many as there are, drawn with replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import np, torch

if TYPE_CHECKING:
    from torch import Tensor

STREAM = 0xB00757
"""Keeps the draw apart from others of the same seed."""


def sample(count: int, seed: int) -> Tensor:
    """Which example stands at each of `count` places, by number; the same for a seed on every machine.

    Source: Breiman 1996, Bagging predictors, section 1.
    """
    return torch.from_numpy(np.random.default_rng([seed, STREAM]).integers(0, count, count))
