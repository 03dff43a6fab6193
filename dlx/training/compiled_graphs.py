"""What torch.compile makes of a network: one recurrent layer, and it compiles nothing at all, without a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..lazy import nn, torch
from ..utils.torch_private import MissingNameError, private

if TYPE_CHECKING:
    from torch import device as Device


def recurrent_layers(network: nn.Module) -> list[str]:
    """Return the kinds of torch's recurrent layers in a network: `gru`, `lstm` or `rnn`."""
    found = {each.mode.split("_")[0].lower() for each in network.modules() if isinstance(each, torch.nn.RNNBase)}
    return sorted(found)


@contextmanager
def recurrent_allowed(network: nn.Module, device: Device) -> Iterator[None]:
    """Let torch compile recurrent layers too, except an LSTM on a CPU, whose oneDNN kernel fails once compiled."""
    kinds = recurrent_layers(network)
    try:
        config = private("torch._dynamo.config") if kinds else None
    except MissingNameError:
        config = None
    if config is None or not hasattr(config, "allow_rnn") or ("lstm" in kinds and device.type == "cpu"):
        yield
        return
    before, config.allow_rnn = config.allow_rnn, True
    try:
        yield
    finally:
        config.allow_rnn = before


def graphs_compiled() -> int | None:
    """Return how many graphs torch.compile has made in this process; None where this torch does not tell."""
    try:
        return int(private("torch._dynamo.utils.counters")["stats"]["unique_graphs"])
    except (MissingNameError, KeyError):
        return None
