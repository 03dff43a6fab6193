"""Networks that follow others over a training: copies taken now and then, or a moving average of their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..graph import Graph, Graphs
from ..graph.borrowed import stored_elsewhere
from ..lazy import torch
from ..network import build
from ..spec.sections.followers import Follower
from ..utils.torch_private import ForeachOps
from .weight_averages import is_statistic

if TYPE_CHECKING:
    from torch import Tensor, fx, nn
    from torch import device as Device

Pairs = list[tuple["Tensor", "Tensor"]]
"""Tensors of one network, each with its counterpart in the other."""


class Following:
    """One network that follows another one, in place: recorded and packed steps read its memory.

    What it does follows from the step and the weights, so that a checkpoint has all of it.
    """

    def __init__(
        self, follower: Follower, own: nn.Module, other: Mapping[str, Tensor], filled: Collection[str] = ()
    ) -> None:
        """`own` follows the tensors `other`, by their names in it.

        `filled` are names of its tensors that have their first values from elsewhere.
        """
        self.every, self.ema = follower.how.every, follower.how.ema
        mine, theirs = own.state_dict(keep_vars=True), other
        self.pairs: Pairs = [(mine[name], theirs[name]) for name in mine]
        self.first: Pairs = [(mine[name], theirs[name]) for name in mine if name not in filled]
        # as the average `ema` does: weights and statistics of batch norms; other buffers, as counters are, are copied
        weights = {name for name, _ in own.named_parameters()}
        averaged = {name for name, tensor in mine.items() if name in weights or is_statistic(name, tensor)}
        self.means = [mine[name] for name in mine if name in averaged]
        self.values = [theirs[name] for name in mine if name in averaged]
        self.others: Pairs = [(mine[name], theirs[name]) for name in mine if name not in averaged]
        self.lists = ForeachOps()

    def begin(self) -> None:
        """Make it equal to the other network, but for what has its first values from elsewhere."""
        _copy(self.first)

    def update(self, step: int) -> None:
        """Follow after `step` updates in all."""
        if self.ema is not None:
            with torch.no_grad():
                self.lists.lerp_(self.means, self.values, 1 - self.ema)
            _copy(self.others)
        elif self.every is not None and step % self.every == 0:
            _copy(self.pairs)


def _copy(pairs: Pairs) -> None:
    with torch.no_grad():
        for own, other in pairs:
            own.copy_(other)


def notes(graphs: Graphs, steps: int) -> tuple[str, ...]:
    """Return notes on networks that become copies of others, and would for the first time after the training."""
    late = {
        name: one for name, one in graphs.followers.items() if one.how.every is not None and one.how.every > steps
    }
    return tuple(
        f"`{name}` becomes a copy of `{one.of}` every {one.how.every:,} steps, and the training has {steps:,}: "
        "it stays as it begins"
        for name, one in late.items()
    )


def networks(graphs: Graphs, device: Device) -> dict[str, fx.GraphModule]:
    """Build the networks that follow others. Nothing is drawn from the run's generator."""
    with torch.random.fork_rng(devices=[]):
        return {name: build(graphs[name]).to(device) for name in graphs.followers}


def followings(
    followers: Mapping[str, Follower], graphs: Graphs, networks: Mapping[str, nn.Module], filled: Collection[str]
) -> dict[str, Following]:
    """Return what lets networks follow others, by name; what those share with others is followed too.

    `filled` are names of tensors that have their first values from elsewhere, `target.linear_1.weight`.
    """
    found = {}
    for name, one in followers.items():
        own = {full.removeprefix(f"{name}.") for full in filled if full.startswith(f"{name}.")}
        found[name] = Following(one, networks[name], _tensors(one.of, graphs[name], networks), own)
    return found


def _tensors(of: str, follower: Graph, networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return what a network runs, by its names in its follower, those of other networks among them."""
    found: dict[str, Tensor] = networks[of].state_dict(keep_vars=True)
    for module, stored in stored_elsewhere(follower):
        network, _, inside = stored.partition(".")
        there = networks[network].get_submodule(inside).state_dict(keep_vars=True)
        found |= {f"{module}.{name}": tensor for name, tensor in there.items()}
    return found
