"""Residual blocks of a graph, and its paths by length, without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from itertools import zip_longest

from ...graph import Graph, LayerNode


@dataclass(frozen=True)
class ResidualBlock:
    """A sum of a shortcut and branches that begin at one value.

    Attributes:
        name: the scope that it has for itself, else the node that adds.
        start: the value at which shortcut and branches begin: a node or an input.
        join: the node that adds them.
        shortcut: number of the input of `join` that comes by the shortcut.
        inside: the nodes of the branches in execution order; those of a shortcut with layers of its own are not.
    """

    name: str
    start: str
    join: str
    shortcut: int
    inside: tuple[str, ...]


def residual_blocks(graph: Graph) -> tuple[ResidualBlock, ...]:
    """Return the residual blocks of a graph in execution order, nested ones included.

    A node `add` ends one where all of its inputs begin at one value, and one input, the shortcut, passes fewer layers
    that multiply than each of the others.
    Source: He et al. 2015, arXiv:1512.03385, equations 1 and 2.
    """
    dominators = _dominators(graph)
    joins = [node for node in graph.nodes if node.kind == "add"]
    found = [block for node in joins if (block := _block(graph, node, dominators)) is not None]
    scopes = Counter(block.join.rpartition("/")[0] for block in found)
    return tuple(
        replace(block, name=scope) if (scope := block.join.rpartition("/")[0]) and scopes[scope] == 1 else block
        for block in found
    )


def _block(graph: Graph, join: LayerNode, dominators: Mapping[str, str]) -> ResidualBlock | None:
    start = dominators[join.name]
    if not start or len(join.inputs) < 2:
        return None
    ways = [_between(graph, start, end) for end in join.inputs]
    layers = [sum(graph.by_name[name].plan.macs > 0 for name in way) for way in ways]
    shortcut = min(range(len(ways)), key=lambda i: (layers[i], len(ways[i])))
    if any(count <= layers[shortcut] for i, count in enumerate(layers) if i != shortcut):
        return None
    names = {name for i, way in enumerate(ways) if i != shortcut for name in way} - ways[shortcut]
    inside = tuple(node.name for node in graph.nodes if node.name in names)
    return ResidualBlock(join.name, start, join.name, shortcut, inside)


def _between(graph: Graph, start: str, end: str) -> set[str]:
    """Return the nodes on the paths from a value to a node, without the value itself."""
    found, open_ = set[str](), [end]
    while open_:
        name = open_.pop()
        if name != start and name in graph.by_name and name not in found:
            found.add(name)
            open_ += graph.by_name[name].inputs
    return found


def block_ends(graph: Graph, blocks: Iterable[ResidualBlock]) -> list[str]:
    """Return the values between blocks in execution order: what each takes, and what the last one makes.

    What is done to a sum before the next block takes it, such as a scale or an activation, belongs to the block.
    """
    blocks = tuple(blocks)
    users: dict[str, list[LayerNode]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    chosen = {block.start for block in blocks}
    for block in blocks:
        end = graph.by_name[block.join]
        while len(after := users.get(end.name, [])) == 1 and _is_after(after[0], end) and end.name not in chosen:
            end = after[0]
        if not any(one.start in (block.join, end.name) for one in blocks):
            chosen.add(end.name)
    return [name for name in (*graph.inputs, *(node.name for node in graph.nodes)) if name in chosen]


def _is_after(node: LayerNode, end: LayerNode) -> bool:
    """Whether a node only changes values one by one."""
    return len(node.inputs) == 1 and node.shape == end.shape and not node.plan.weights and "norm" not in node.kind


def _dominators(graph: Graph) -> dict[str, str]:
    """Return for each node the nearest value that all paths to it pass; empty where there is none.

    Source: Cooper, Harvey & Kennedy 2001, A Simple, Fast Dominance Algorithm; one pass, for there are no cycles.
    """
    nearest, rank = dict.fromkeys(graph.inputs, ""), {"": 0} | dict.fromkeys(graph.inputs, 1)

    def common(a: str, b: str) -> str:
        while a != b:
            if rank[a] < rank[b]:
                a, b = b, a
            a = nearest[a]
        return a

    for node in graph.nodes:
        end = reduce(common, node.inputs) if node.inputs else ""
        nearest[node.name], rank[node.name] = end, rank[end] + 1
    return nearest


def paths_by_length(graph: Graph, blocks: Iterable[ResidualBlock], end: str) -> list[int]:
    """Return the number of paths from the inputs to a node by the number of residual branches that each passes.

    n blocks in a row of one path each have C(n, k) paths of length k.
    Source: Veit, Wilber & Belongie 2016, arXiv:1605.06431, section 4.1.
    """
    shortcuts = {block.join: block.shortcut for block in blocks}
    found = {name: [1] for name in graph.inputs}
    for node in graph.nodes:
        through = shortcuts.get(node.name)
        ways = ([0] * (through is not None and i != through) + found[name] for i, name in enumerate(node.inputs))
        found[node.name] = [sum(counts) for counts in zip_longest(*ways, fillvalue=0)]
    return found[end]
