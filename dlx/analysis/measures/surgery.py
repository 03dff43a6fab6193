"""Networks with layers or blocks left out, or in another order; weights are shared with the network itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ...graph import Graph, LayerNode
from ...lazy import torch
from .residual_blocks import residual_blocks
from .walk import name_of

if TYPE_CHECKING:
    from torch import fx


@dataclass(frozen=True)
class Removable:
    """A residual branch, or a layer with what follows it, which can be left out: shapes stay.

    Attributes:
        name: of the residual block, or of the layer that multiplies.
        start: the value that stands in for it: the shortcut's, or what came into the layer.
        end: the node whose value that replaces: the sum, or the last node of the layer.
        inside: its nodes in execution order.
        order: what has the same is exchangeable: kinds of the nodes, shapes of their weights and values.
    """

    name: str
    start: str
    end: str
    inside: tuple[str, ...]
    order: tuple[Any, ...]


def removable(graph: Graph) -> tuple[Removable, ...]:
    """Return the outermost residual branches of a graph; of a plain one the layers that do not change shapes."""
    blocks = residual_blocks(graph)
    if not blocks:
        return tuple(_layers(graph))
    nested = {name for block in blocks for name in block.inside}
    found = []
    for block in blocks:
        if block.join not in nested:
            start = graph.by_name[block.join].inputs[block.shortcut]
            found.append(Removable(block.name, start, block.join, block.inside, _order(graph, block.inside)))
    return tuple(found)


def _layers(graph: Graph) -> list[Removable]:
    """Return each weight layer with the norms and activations behind it, up to the next one, where shapes stay."""
    users: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users[name] = users.get(name, 0) + 1
    rows: list[list[LayerNode]] = []
    for node in graph.nodes:
        follows = rows and node.inputs == (rows[-1][-1].name,) and users[node.inputs[0]] == 1
        if node.plan.macs > 0 and len(node.inputs) == 1:
            rows.append([node])
        elif follows and node.shape == rows[-1][-1].shape:
            rows[-1].append(node)
    outputs = set(graph.outputs.values())
    return [
        Removable(row[0].name, row[0].inputs[0], row[-1].name, names, _order(graph, names))
        for row in rows
        if row[0].arriving[0] == row[-1].shape and not outputs & set(names := tuple(node.name for node in row))
    ]


def _order(graph: Graph, names: Sequence[str]) -> tuple[Any, ...]:
    nodes = [graph.by_name[name] for name in names]
    return tuple((node.kind, tuple(node.shape), tuple(sorted(node.plan.weights.items()))) for node in nodes)


def without(network: fx.GraphModule, parts: Sequence[Removable]) -> fx.GraphModule:
    """Return the network without some parts: what comes in, or by the shortcut, goes on as it is."""
    changed = _copy(network)
    by_name = {name_of(node): node for node in changed.graph.nodes}
    places = {name: i for i, name in enumerate(by_name)}
    for part in sorted(parts, key=lambda one: -places[one.end]):  # what stands in for one may be left out too
        by_name[part.end].replace_all_uses_with(by_name[part.start])
    changed.graph.eliminate_dead_code()
    changed.recompile()
    return changed


def reordered(network: fx.GraphModule, places: Mapping[Removable, Removable]) -> fx.GraphModule:
    """Return the network in which each part does, at its place, what the part that it is mapped to does."""
    changed = _copy(network)
    by_name = {name_of(node): node for node in changed.graph.nodes if node.op == "call_module"}
    targets = {name: node.target for name, node in by_name.items()}
    for place, part in places.items():
        for here, there in zip(place.inside, part.inside, strict=True):
            by_name[here].target = targets[there]
    changed.recompile()
    return changed


def _copy(network: fx.GraphModule) -> fx.GraphModule:
    """Return a network of the same modules with a graph of its own."""
    code = torch.fx.Graph()
    output = code.graph_copy(network.graph, {})
    code.output(output)
    for old, new in zip(network.graph.nodes, code.nodes, strict=True):
        new.meta = dict(old.meta)
    made = torch.fx.GraphModule(network, code)
    return made.train(network.training)


def kendall_tau(order: Sequence[int]) -> float:
    """Return Kendall's tau of an order and its place: 1 in order, -1 reversed."""
    pairs = list(combinations(order, 2))
    return sum(1 if a < b else -1 for a, b in pairs) / len(pairs) if pairs else 1.0
