"""Layers that a network runs with the weights of another one: which there are, and the network without the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .graph import Graph, LayerNode


def apart(graph: Graph) -> Graph:
    """Return a network as it is without the others: what it shares with them are layers of its own."""
    if not any(node.lender for node in graph.nodes):
        return graph
    nodes = tuple(replace(node) for node in graph.nodes)
    own = {node.name: node for node in nodes}
    for node in nodes:
        if node.holder is not None and not node.lender:
            node.holder = own[node.owner]
    set_apart(nodes)
    return replace(graph, nodes=nodes)


def set_apart(nodes: Iterable[LayerNode]) -> None:
    """Give nodes that share weights of other networks weights of their own; such as share the same ones still do."""
    first: dict[str, LayerNode] = {}
    for node in nodes:
        if not node.lender:
            continue
        of = node.lender, node.weights_of.name
        if (one := first.setdefault(node.owner, node)) is node:
            node.owner, node.lender, node.holder, node.stands_for = "", "", None, of
        else:
            node.owner, node.lender, node.holder = one.name, "", one


def stored_elsewhere(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield modules of a network set apart, each with what it is in a checkpoint of all: `twin`, `encoder.trunk`."""
    for node in graph.nodes:
        if node.stands_for[0]:
            yield node.name.replace("/", "."), ".".join(node.stands_for).replace("/", ".")
