"""Batch norms of a network outside of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def norms_by_batch(network: nn.Module) -> Iterator[None]:
    """Let batch norms use the batch, and all else do as in evaluation; set modes and statistics back at the end."""
    from ...modules.norm import is_batch_norm

    modes = {module: module.training for module in network.modules()}
    buffers = {buffer: buffer.clone() for buffer in network.buffers()}
    network.eval()
    for module in network.modules():
        module.training = is_batch_norm(module)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, before in buffers.items():
            buffer.copy_(before)
