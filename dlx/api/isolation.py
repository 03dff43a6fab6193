"""Isolation of dlx's computations from the random generators and global settings of the calling code."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ..lazy import np, torch
from ..training import process

TURN = threading.RLock()
"""Held by each call while it reads a spec or computes, so that calls of several threads take turns.

The kinds of the plugins in use belong to the process, as torch's generators, threads and modes do: one call would
take those of the other away, and two trainings would share a generator.
"""


@contextmanager
def isolated() -> Iterator[None]:
    """Compute as in a process of its own, and restore all settings of the caller afterwards.

    One thread at a time; another one waits. Covers the random generators of torch, NumPy and Python, the default
    dtype and device, and `no_grad` or `inference_mode` around the call.
    """
    process.tune()
    with TURN, ExitStack() as stack:
        stack.enter_context(_generators())
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        dtype = torch.get_default_dtype()
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        yield


@contextmanager
def _generators() -> Iterator[None]:
    """Restore the states of the random generators."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(list(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
