"""A network up to some of its layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...lazy import torch

if TYPE_CHECKING:
    from torch import fx


def up_to(network: fx.GraphModule, names: Sequence[str]) -> fx.GraphModule:
    """Return a network with the same weights that gives the values of nodes, in their order, and then its outputs."""
    graph = copy.deepcopy(network.graph)
    named = {one.meta["node"]: one for one in graph.nodes if "node" in one.meta}  # of several, the last is its output
    (last,) = (one for one in graph.nodes if one.op == "output")
    outputs = last.args[0]
    graph.erase_node(last)
    graph.output((*(named[name] for name in names), outputs))
    return torch.fx.GraphModule(network, graph)


def ending_at(network: fx.GraphModule, name: str) -> fx.GraphModule:
    """Return a network with the same weights whose output is that of a node, and that does nothing behind it."""
    from ...trained import features

    return features.ending_at(network, name)
