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
    return [_unknown(graph, one, option) for one in patterns if not layers_of(graph, [one])]


def unknown_names(graph: Graph, names: Sequence[str], option: str = "layer") -> list[Problem]:
    """Return a problem for each name that is no node's, with the nearest ones; an empty name is none."""
    return [_unknown(graph, one, option) for one in names if one and one not in graph.by_name]


def _unknown(graph: Graph, one: str, option: str) -> Problem:
    names = [node.name for node in graph.nodes]
    hint = did_you_mean(one, names, "the layers")
    return Problem(f"`{option}` names `{one}`, and {graph.name} has no such layer", hint)
