"""The origin of a node's options (`dlx why`), from the mark of the spec at which each node was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..spec import Experiment
from ..spec.expressions import has_expression
from ..spec.overrides import kind_of_entry
from ..spec.sections.networks import ONE
from ..spec.spec_keys import Keys, SpecKey
from ..spec.syntax.read import Node
from ..spec.validation import ENTRY_KEYS, OF_LAYERS
from ..spec.why import OriginFinder, ValueOrigin
from .graph import Graph, LayerNode
from .graphs import Graphs

LAYERS = "network.layers."


def why(experiment: Experiment, graphs: Graphs, key: str, changes: Sequence[str] = ()) -> ValueOrigin:
    """Return where the value of `key` comes from; `network.layers.NODE.option` for any node, also inside blocks.

    `changes` are the overrides that `experiment` was loaded with. Errors: SpecError where there is no such key.
    """
    finder = OriginFinder(experiment, changes)
    found = OF_LAYERS.match(key)
    network = (found[1] or ONE) if found else next(iter(graphs))
    graph, layers = graphs.get(network), found[0] if found else LAYERS
    if graph is None:
        return finder.with_parts(finder.find(key))
    name, _, rest = key.removeprefix(layers).partition(".")
    keys = tuple(layers.rstrip(".").split("."))
    if found and name in graph.by_name and not _is_written(experiment.root, keys, name):
        node = graph.by_name[name]
        written = ("networks", node.lender) if node.lender else keys[:-1]
        start = _place(experiment.root, node.weights_of, f"{layers}{name}", written)
        if rest in {"", node.kind}:
            return replace(finder.with_parts(start), kind=node.kind, mark=node.mark, default_of="")
        return finder.with_parts(finder.find(rest.removeprefix(f"{node.kind}."), start))  # overrides may say the kind
    try:
        return finder.with_parts(finder.find(key))
    except SpecError as error:
        raise _nearer(error, experiment, graph, key, layers if found or graphs.is_one else "") from error


def _is_written(root: Node, keys: Keys, name: str) -> bool:
    """Whether a layer had this name before overrides changed the list of layers: overrides go by those names."""
    layers = root.at(*keys)
    return layers is not None and layers.original is not None and name in layers.original.names


def _nearer(error: SpecError, experiment: Experiment, graph: Graph, key: str, layers: str) -> SpecError:
    """Return an error whose hint names nodes; `layers` is the key of the list of layers, or empty."""
    if not layers:
        return error
    name = key.removeprefix(layers).split(".")[0]
    inside = next((node.name for node in graph.nodes if node.name.startswith(f"{name}/")), None)
    mark = Mark(str(experiment.path))
    if not key.startswith(layers):
        found = key.split(".", maxsplit=1)[0] in graph.by_name
        return SpecError(
            *(replace(p, hint=f"Did you mean `{layers}{key}`?") for p in error.problems) if found else error.problems
        )
    if inside is not None:
        hint = f"Ask for one of its layers: `{layers}{inside}`."
        return SpecError(Problem(f"`{name}` is a scope of several layers", hint, mark, key))
    if name.split("/")[0].isdigit() or any(problem.path != key for problem in error.problems):
        return error
    return SpecError(Problem(f"there is no layer `{name}`", did_you_mean(name, graph.by_name), mark, key))


def _place(root: Node, node: LayerNode, key: str, network: Keys) -> SpecKey:
    """Return the options of a node as a place in the spec; an implied merge, which nobody wrote, has no keys."""
    info: dict[str, Any] = {"key": key, "value": node.layer}
    found = [(keys, entry) for keys, entry in _entries(root, node, network) if _fits(entry.map.get(node.kind), node)]
    if not found:
        return SpecKey(**info, keys=None)
    keys, entry = found[0]
    beside = {name: child for name, child in entry.map.items() if name in ENTRY_KEYS}
    return SpecKey(**info, keys=(*keys, node.kind), node=entry.map.get(node.kind), beside=beside)


def _entries(root: Node, node: LayerNode, network: Keys) -> Iterator[tuple[Keys, Node]]:
    """Yield the entries that may be that of a node: its kind, written at its mark."""
    waiting: list[tuple[Keys, Node]] = [
        (keys, found) for keys in (("blocks",), network) if (found := root.at(*keys)) is not None
    ]
    while waiting:
        keys, at = waiting.pop()
        if at.value == node.kind and at.mark == node.mark:
            yield keys, at
        if at.is_map and kind_of_entry(at) == node.kind and at.map[node.kind].mark == node.mark:
            yield keys, at
        else:
            below: Any = at.map.items() if at.is_map else enumerate(at.list)
            waiting += [((*keys, key), child) for key, child in below]


def _fits(options: Node | None, node: LayerNode) -> bool:
    """Whether options can be those of a node: all layers of one override have the same mark."""
    return all(
        has_expression(value.value) or value.is_map or value.is_list or getattr(node.layer, name, None) == value.value
        for name, value in (options.map if options is not None else {}).items()
    )
