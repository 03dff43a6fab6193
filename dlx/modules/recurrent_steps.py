"""Recurrent layers over texts of different lengths, and over several documents in one window.

No shape depends on a value, so that a step can be recorded and stacked: kernels run over the padding too, and what
they give there is left out. torch's packed sequences need the lengths on the host, and another size each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

States = tuple[Tensor, ...]


class RecurrentLayer(Protocol):
    """What this file reads of a recurrent module: torch's names, and two methods for a layer in one direction."""

    num_layers: int
    bidirectional: bool
    dropout: float
    training: bool

    def one_layer(self, x: Tensor, states: States, which: str) -> Tensor:
        """Return the outputs of one layer in one direction over all steps, (N, T, C) -> (N, T, H)."""
        ...

    def sums(self, x: Tensor, which: str) -> Tensor:
        """Return what the inputs add to the sums of all steps, (N, T, C) -> (N, T, gates * H)."""
        ...

    def one_step(self, sums: Tensor, states: States, which: str) -> States:
        """Return the states after one step: sums of (N, gates * H) and states of (N, H)."""
        ...


def is_real(lengths: Tensor, steps: int) -> Tensor:
    """Return which steps are before the end of each text: (N,) -> (N, T)."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)


def at_end(y: Tensor, lengths: Tensor, begin: Tensor) -> Tensor:
    """Return the value of the last real step, (N, T, H) -> (N, H); `begin`, (N, H), of a text without one."""
    last = (lengths - 1).clamp_min(0).view(-1, 1, 1).expand(-1, 1, y.shape[-1])
    return torch.where(lengths.unsqueeze(1) > 0, y.gather(1, last).squeeze(1), begin)


def by_layer(module: RecurrentLayer, x: Tensor, begin: States, lengths: Tensor) -> tuple[Tensor, States]:
    """Run each layer and direction over texts of `lengths` by torch's kernels; return outputs and states at the end.

    The way back goes over each text turned round within its own length.

    Shapes: x of (N, T, C), begin of (K, N, H) each -> (N, T, D * H) and the first state, (K, N, H).
    """
    real = is_real(lengths, x.shape[1])
    at = torch.arange(x.shape[1], device=x.device)
    turned = torch.where(real, lengths.unsqueeze(1) - 1 - at, at).unsqueeze(-1)
    ends: list[Tensor] = []
    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    for layer in range(module.num_layers):
        inputs, made = _dropped(module, x, layer), []
        for suffix in suffixes:
            states = tuple(state[len(ends)] for state in begin)
            over = inputs.gather(1, turned.expand_as(inputs)) if suffix else inputs
            y = module.one_layer(over, states, f"_l{layer}{suffix}")
            ends.append(at_end(y, lengths, states[0]))
            made.append(y.gather(1, turned.expand_as(y)) if suffix else y)
        x = (torch.cat(made, -1) if len(made) > 1 else made[0]).masked_fill(~real.unsqueeze(-1), 0.0)
    return x, (torch.stack(ends),)


def by_step(
    module: RecurrentLayer, x: Tensor, begin: States, lengths: Tensor | None, document: Tensor | None
) -> tuple[Tensor, States]:
    """Run each layer and direction step by step; return outputs and all states at the end.

    Behind the end of a text its states stay; at the first step of a document (where its number changes) they are
    zeros.

    Shapes: x of (N, T, C), begin of (K, N, H) each, document of (N, T) -> (N, T, D * H) and states of (K, N, H).
    """
    steps = x.shape[1]
    real = None if lengths is None else is_real(lengths, steps).unsqueeze(-1)
    changes = None if document is None else (document[:, 1:] != document[:, :-1]).unsqueeze(-1)
    if changes is not None and real is not None:
        changes = changes & real[:, 1:]
    ends: list[States] = []
    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    for layer in range(module.num_layers):
        inputs, directions = _dropped(module, x, layer), []
        for suffix in suffixes:
            which, states = f"_l{layer}{suffix}", tuple(state[len(ends)] for state in begin)
            made, sums = [], module.sums(inputs, which).unbind(1)
            order = range(steps - 1, -1, -1) if suffix else range(steps)
            for i, t in enumerate(order):
                if changes is not None and i:
                    anew = changes[:, t if suffix else t - 1]
                    states = tuple(state.masked_fill(anew, 0.0) for state in states)
                after = module.one_step(sums[t], states, which)
                made.append(after[0])
                if real is None:
                    states = after
                else:
                    states = tuple(torch.where(real[:, t], new, old) for new, old in zip(after, states, strict=True))
            ends.append(states)
            directions.append(torch.stack(made[::-1] if suffix else made, 1))
        x = torch.cat(directions, -1) if len(directions) > 1 else directions[0]
        x = x if real is None else x.masked_fill(~real, 0.0)
    return x, tuple(torch.stack(each) for each in zip(*ends, strict=True))


def lstm_cell(sums: Tensor, states: Sequence[Tensor], projection: Tensor | None) -> States:
    """Return state and cells after one step of an LSTM, of the sums of its four gates, (N, 4 * H)."""
    i, f, g, o = sums.chunk(4, -1)
    c = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if projection is None else F.linear(h, projection)), c


def gru_cell(of_input: Tensor, of_state: Tensor, h: Tensor) -> Tensor:
    """Return the state after one step of a GRU, of the sums of its three gates, (N, 3 * H) each."""
    (r, u, n), (r_h, u_h, n_h) = of_input.chunk(3, -1), of_state.chunk(3, -1)
    u = (u + u_h).sigmoid()
    return (1 - u) * (n + (r + r_h).sigmoid() * n_h).tanh() + u * h


def _dropped(module: RecurrentLayer, x: Tensor, layer: int) -> Tensor:
    return F.dropout(x, module.dropout, module.training and layer > 0) if module.dropout else x
