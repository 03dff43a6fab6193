"""The random generators of a process: torch's, CUDA's, Python's and NumPy's, seeded, saved and restored here.

The weights are drawn from torch's, and so is dropout. Draws that must not depend on those have generators of their
own, seeded by `train.seed` too: the order of the examples (`batches/feed`), a bootstrap sample (`batches/bootstrap`),
what an objective with phases draws (`phased`), and the examples that `init: lsuv` looks at (`data_dependent_init`).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..lazy import np, torch

if TYPE_CHECKING:
    from torch import Generator


def seed_all(seed: int) -> None:
    """Seed every generator with one number."""
    if torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    else:
        # the same generator; without CUDA torch.manual_seed would only queue the call, with its traceback formatted,
        # for each kind of device that is not there
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # NumPy takes no seed of more than 32 bits


def host_state() -> dict[str, Any]:
    """Return the states of Python's generator and of NumPy's; None for NumPy where nothing has imported it."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=True) if "numpy" in sys.modules else None,
    }


def state(own: Generator | None = None, host: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the states of all generators, with `own` in place of torch's and `host` in place of Python's and
    NumPy's.

    Trainings side by side in one process each have their own.
    """
    return {
        **(host or host_state()),
        "torch": torch.get_rng_state() if own is None else own.get_state(),
        # asking would initialize CUDA, which takes seconds and memory of the device
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,  # type: ignore[no-untyped-call]
        **({"mps": torch.mps.get_rng_state()} if torch.backends.mps.is_available() else {}),
    }


def load(states: Mapping[str, Any]) -> None:
    """Restore what `state` returned; CUDA's where there is a device."""
    random.setstate(states["python"])
    if states["numpy"] is not None:
        np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
