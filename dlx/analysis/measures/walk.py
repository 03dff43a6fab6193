"""Passes through a network in which the values of its nodes are seen, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, fx

Output = Any
"""What a network returns: a tensor, or a mapping of several."""


def watched(
    network: fx.GraphModule, inputs: Sequence[Tensor], names: Collection[str], take: Callable[[str, Any], None]
) -> Output:
    """Run a network, hand on the values of some nodes and inputs as they are made, and return its output.

    Names are those in the spec. Of a module that is several nodes of torch the value of the last is its output.
    """
    last = {name_of(node): node for node in network.graph.nodes}
    wanted = {last[name]: name for name in names if name in last}

    class Watching(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in wanted:
                take(wanted[n], value)
            return value

    return Watching(network).run(*inputs)


def values_of(
    network: fx.GraphModule, inputs: Sequence[Tensor], names: Collection[str]
) -> tuple[Output, dict[str, Tensor]]:
    """Run a network; return its output and the values of some nodes and inputs, by their names in the spec."""
    found: dict[str, Tensor] = {}
    output = watched(network, inputs, names, found.__setitem__)
    return output, found


def name_of(node: fx.Node) -> str:
    """Return the name in the spec of a node of a network, or of an input; empty for the output."""
    return str(node.target) if node.op == "placeholder" else str(node.meta.get("node", ""))


def first_output(output: Output) -> Tensor:
    """Return the first output of a network."""
    found: Tensor = next(iter(output.values())) if isinstance(output, Mapping) else output
    return found


def projection(seed: int = 0) -> Callable[[Output], Tensor]:
    """Return a loss that sums the first output of each example along one random direction.

    Each value of the output gets a gradient of its own from N(0, 1): what arrives below tells of the network alone.
    """

    def loss(output: Output) -> Tensor:
        values = first_output(output)
        generator = torch.Generator().manual_seed(seed)
        along = torch.randn(values.shape, generator=generator, dtype=values.dtype).to(values.device)
        return (values * along).sum()

    return loss
