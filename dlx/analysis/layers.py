"""Layers of a network by name, for analyses: what patterns name, and the mistakes in them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..errors import Problem, did_you_mean

if TYPE_CHECKING:
    from ..graph import Graph


def layers_of(graph: Graph, patterns: Sequence[str] = ()) -> list[str]:
    """Return the nodes that patterns name, in their order: all without patterns, else by name or `block_*`."""
    names = [node.name for node in graph.nodes]
    return [name for name in names if not patterns or any(fnmatchcase(name, one) for one in patterns)]


def unknown_layers(graph: Graph, patterns: Sequence[str], option: str = "layers") -> list[Problem]:
    """Return a problem for each pattern that names no node, with the nearest names."""
    names = [node.name for node in graph.nodes]
    missing = (one for one in patterns if not layers_of(graph, [one]))
    return [
        Problem(
            f"`{option}` names `{one}`, and {graph.name} has no such layer", did_you_mean(one, names, "the layers")
        )
        for one in missing
    ]
