"""States of recurrent layers that go on from one window of a text to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NAME = "carried_{}"
"""Name of the buffers of a module that hold its states, (layers, streams, values)."""


class Carries(nn.Module):
    """Mixin for modules that begin at a state, which may go on from one call to the next."""

    def zeros(self, like: Tensor, count: int) -> tuple[Tensor, ...]:
        """Return states of zeros for so many rows, (layers, N, values)."""
        raise TypeError(f"{type(self).__name__} has no zeros()")


@dataclass(frozen=True)
class Carry:
    """One pass in which states go on.

    Attributes:
        begins: the rows that begin at zeros (N,).
        states: the states of each module where the pass before left them, of an evaluation; None for those that a
            training holds in buffers of the modules.
    """

    begins: Tensor
    states: dict[nn.Module, tuple[Tensor, ...]] | None = None

    def first(self, module: nn.Module, zeros: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the states that a module begins at, like `zeros` (layers, N, values)."""
        held = self._held(module) or tuple(zeros)
        stays = ~self.begins[None, :, None]
        return tuple(torch.where(stays, state[:, : len(self.begins)], 0.0) for state in held)

    def _held(self, module: nn.Module) -> tuple[Tensor, ...]:
        return buffers_of(module) if self.states is None else self.states.get(module, ())

    def keep(self, module: nn.Module, ends: Sequence[Tensor]) -> None:
        """Keep the states that a module ends in, without their gradients."""
        if self.states is not None:
            self.states[module] = tuple(end.detach() for end in ends)
            return
        with torch.no_grad():
            for state, end in zip(buffers_of(module), ends, strict=True):
                state[:, : len(self.begins)].copy_(end.detach())


_CARRY: ContextVar[Carry | None] = ContextVar("carry", default=None)


def current(module: nn.Module) -> Carry | None:
    """Return the pass that runs now, where states of a module go on."""
    # torch.compile breaks a graph in two at a ContextVar; a compiled training holds its states in buffers
    if torch.compiler.is_compiling() and not hasattr(module, NAME.format(0)):
        return None
    return _CARRY.get()


@contextmanager
def carrying(begins: Tensor, states: dict[nn.Module, tuple[Tensor, ...]] | None = None) -> Iterator[None]:
    """Context in which recurrent layers whose initial state is not wired go on where they ended."""
    token = _CARRY.set(Carry(begins, states))
    try:
        yield
    finally:
        _CARRY.reset(token)


def buffers_of(module: nn.Module) -> tuple[Tensor, ...]:
    """Return the states that a module holds."""
    names = (NAME.format(i) for i in range(2))
    return tuple(module.get_buffer(name) for name in names if hasattr(module, name))


def hold(network: nn.Module, streams: int) -> dict[str, Tensor]:
    """Give each recurrent layer buffers for its states of so many streams, zeros at first; return them by name."""
    found: dict[str, Tensor] = {}
    weight = next(network.parameters())
    for name, module in network.named_modules():
        if isinstance(module, Carries):
            for i, zeros in enumerate(module.zeros(weight.detach(), streams)):
                module.register_buffer(NAME.format(i), zeros, persistent=False)
                found[f"{name}.{i}"] = zeros
    return found
