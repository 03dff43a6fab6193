"""Bootstrap sample of the training part: as many examples as it has, drawn with replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import np, torch

if TYPE_CHECKING:
    from torch import Tensor

SEED_STREAM = 0xB00757
"""Second word of the seed, so that this sample is independent of other draws from the same seed."""


def bootstrap_indices(count: int, seed: int) -> Tensor:
    """Sample `count` indices below `count` with replacement: int64, equal for a seed on every machine.

    Source: Breiman 1996, Bagging predictors, section 1.
    """
    # NumPy's PCG64 rather than torch: its stream is specified, so the sample does not change with torch's version
    return torch.from_numpy(np.random.default_rng([seed, SEED_STREAM]).integers(0, count, count))
