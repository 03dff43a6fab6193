"""Quantities of a graph, or of a node or scope of it, by the names that claims and figures use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

from ..errors import did_you_mean
from ..layers import LAYERS
from ..shapes import ReceptiveField, Shape, UnknownReceptiveField
from ..spec.expressions import ExpressionError
from .graph import AnyReceptiveField, Graph, LayerNode, trained_values
from .graphs import Graphs
from .settings import Settings

MOST_BITS = 200_000
"""Longest number of linear regions that is computed, in bits, about."""
RECTIFIERS = {"relu", "leaky_relu", "prelu"}


class Unmeasured(Exception):  # noqa: N818 - a sentence for the receipt, not a mistake of the program
    """Raised for a quantity that a network, node or scope does not have; its message says why."""


@dataclass(frozen=True)
class GraphPart:
    """A node, or a scope with all its nodes; with an empty name the whole network."""

    graph: Graph
    name: str = ""
    network: str = ""
    """The name of the network, where there are several."""

    @property
    def called(self) -> str:
        """The name of the part in the spec."""
        return "/".join(filter(None, (self.network, self.name)))

    @cached_property
    def nodes(self) -> Sequence[LayerNode]:
        """Nodes in execution order; none for an input."""
        if not self.name:
            return self.graph.nodes
        if self.name in self.graph.by_name:
            return [self.graph.by_name[self.name]]
        return [node for node in self.graph.nodes if node.name.startswith(f"{self.name}/")]

    @property
    def last(self) -> LayerNode | None:
        """The node whose output is that of the part; None for an input."""
        if self.name:
            return self.nodes[-1] if self.nodes else None
        return self.graph.by_name.get(next(iter(self.graph.outputs.values())))

    @property
    def shape(self) -> Shape:
        if self.last is not None:
            return self.last.shape
        return self.graph.inputs[self.name] if self.name else self.graph.output_shape()

    @property
    def arriving(self) -> Shape:
        return self.nodes[0].arriving[0] if self.nodes else self.shape

    @property
    def receptive_field(self) -> AnyReceptiveField:
        if self.last is not None and self.name:
            return self.last.receptive_field
        return self.graph.receptive_fields.get(self.name) if self.name else self.graph.receptive_field

    def attribute(self, name: str) -> Any:
        """Return an attribute that an expression names: `${conv_1.params}`, `${stage_1.conv_2.shape}`.

        Of a node it may be a field of its layer too, as it is built: `${dropout_1.p}`.
        Errors: ExpressionError where there is no such attribute, or the part does not have it.
        """
        inner = f"{self.name}/{name}" if self.name else name
        if exists(self.graph, inner):
            return GraphPart(self.graph, inner, self.network)
        if name not in ATTRIBUTES:
            layer = self.graph.by_name[self.name].layer if self.name in self.graph.by_name else None
            if layer is not None and name in type(layer).model_fields:
                return Settings(self.called, layer).attribute(name)
            known = [*ATTRIBUTES, *(type(layer).model_fields if layer is not None else ())]
            raise ExpressionError(f"there is no `{name}` of `{self.called}`", did_you_mean(name, known))
        try:
            return ATTRIBUTES[name](self)
        except Unmeasured as error:
            raise ExpressionError(str(error)) from error


@dataclass(frozen=True)
class LayerCounts:
    """The layers of a part by kind: `${count.conv}`, `${stage_1.count.conv}`."""

    whole: GraphPart

    def attribute(self, kind: str) -> int:
        """Return the number of layers of a kind. ExpressionError where there is no such kind."""
        try:
            return _count(self.whole.nodes, kind)
        except Unmeasured as error:
            raise ExpressionError(str(error)) from error


def _count(nodes: Sequence[LayerNode], kind: str) -> int:
    """Return the number of layers of a kind. Unmeasured where there is no such kind."""
    if kind not in LAYERS and not any(node.kind == kind for node in nodes):
        raise Unmeasured(f"there is no layer `{kind}`. {did_you_mean(kind, LAYERS)}".rstrip())
    return sum(node.kind == kind for node in nodes)


def exists(graph: Graph, name: str) -> bool:
    """Whether a node, scope or input has this name."""
    return name in graph.by_name or name in graph.inputs or name in graph.scopes


def part(graph: Graph, name: str) -> GraphPart:
    """Return the part called `name`, which may be an output too.

    Errors: Unmeasured where there is none.
    """
    scopes, _, result = name.rpartition(".")
    of_result = f"{scopes.replace('.', '/')}.{result}"  # a node such as `encoder.cell`
    name = of_result if of_result in graph.by_name else name.replace(".", "/")
    if name and not exists(graph, name):
        if name not in graph.outputs:
            near = did_you_mean(name, [*graph.by_name, *graph.scopes, *graph.inputs])
            raise Unmeasured(f"there is no `{name}`. {near}".rstrip())
        name = graph.outputs[name]
    return GraphPart(graph, name)


def measure(graph: Graph | Graphs, quantity: str, of: str) -> Any:
    """Return a quantity of a node, scope or network as plain numbers.

    With several networks `of` begins with the name of one, or is empty for the sum over all.
    Errors: Unmeasured where there is none.
    """
    if isinstance(graph, Graph):
        return _measure(graph, quantity, of)
    if graph.is_one:
        return _measure(graph.one, quantity, of)
    if quantity == "count" or (not of and quantity in SUMMED):
        return _of_all(graph, quantity, of)
    if not of:
        names = " or ".join(f"`{quantity}: {{{name}: ...}}`" for name in list(graph)[:2])
        raise Unmeasured(f"there are several networks. Say of which: {names}")
    network, *rest = re.split(r"[./]", of, maxsplit=1)
    inside = "".join(rest)
    if network not in graph:
        raise Unmeasured(f"there is no network `{network}`. {did_you_mean(network, graph, 'the networks')}")
    return _measure(graph[network], quantity, inside)


def _of_all(graphs: Graphs, quantity: str, of: str) -> int:
    """Return the sum over all networks."""
    kinds = {node.kind for graph in graphs.values() for node in graph.nodes}
    if quantity == "count" and of in kinds:
        return sum(node.kind == of for graph in graphs.values() for node in graph.nodes)
    beside = 0
    if quantity in {"params", "trainable", "remaining"}:
        beside = graphs.trained_of_objective if quantity == "trainable" else sum(graphs.of_objective.values())
    return sum(int(_measure(graph, quantity, of)) for graph in graphs.values()) + beside


def _measure(graph: Graph, quantity: str, of: str) -> Any:
    if quantity == "count":
        return _count(graph.nodes, of)
    if quantity == "linear_regions_bound" and of:
        raise Unmeasured("linear regions are bounded for the whole network")
    return MEASURES[quantity](part(graph, of))


def variables(graph: Graph | Graphs, known: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables of an expression in a figure: `vars`, the quantities of the network, and every part.

    With several networks: their names, and the quantities that add up. What the spec sets, as `train`, comes last.
    """
    if isinstance(graph, Graph):
        return _Variables(graph, known, settings)
    return _Variables(graph.one, known, settings) if graph.is_one else _VariablesOfAll(graph, known, settings)


class _Variables(Mapping[str, Any]):
    def __init__(self, graph: Graph, known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.graph, self.known, self.settings = graph, known, settings

    def __getitem__(self, name: str) -> Any:
        if exists(self.graph, name) and not (name in self.graph.inputs and name in self.known):
            return GraphPart(self.graph, name)
        if name in self.known or name not in self.settings:
            return self.known[name] if name in self.known else GraphPart(self.graph).attribute(name)
        return self.settings[name]

    def __contains__(self, name: object) -> bool:
        found = isinstance(name, str) and (exists(self.graph, name) or name in ATTRIBUTES)
        return found or name in self.known or name in self.settings

    def __iter__(self) -> Iterator[str]:
        yield from (*self.known, *ATTRIBUTES, *self.graph.by_name, *self.settings)

    def __len__(self) -> int:
        return len(list(iter(self)))


class _VariablesOfAll(Mapping[str, Any]):
    def __init__(self, graphs: Graphs, known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.graphs, self.known, self.settings = graphs, known, settings

    def __getitem__(self, name: str) -> Any:
        if name in self.graphs:
            return GraphPart(self.graphs[name], network=name)
        if name in self.known or name not in self.settings:
            return self.known[name] if name in self.known else _of_all(self.graphs, name, "")
        return self.settings[name]

    def __contains__(self, name: object) -> bool:
        return name in self.graphs or name in self.known or name in SUMMED or name in self.settings

    def __iter__(self) -> Iterator[str]:
        yield from (*self.graphs, *self.known, *SUMMED, *self.settings)

    def __len__(self) -> int:
        return len(list(iter(self)))


def _sum(value: Callable[[LayerNode], int]) -> Callable[[GraphPart], int]:
    return lambda whole: sum(value(node) for node in whole.nodes)


def _of_objective(whole: GraphPart) -> int:
    """Return the number of values that the objective learns, which belong to the whole network."""
    return 0 if whole.name else sum(whole.graph.of_objective.values())


def _trained_of_objective(whole: GraphPart) -> int:
    """Return how many of them training updates."""
    return 0 if whole.name else trained_values(whole.graph.of_objective, whole.graph.frozen_of_objective)


def _remaining(whole: GraphPart) -> int:
    """Return the number of learned values that `prune` leaves. Unmeasured where only training tells."""
    params = MEASURES["params"](whole)
    if not whole.name:
        return int(params - whole.graph.pruned)
    pruned = [node.pruned for node in whole.nodes]
    if None in pruned:
        raise Unmeasured(f"with `scope: global` the magnitudes of all weights tell what is left of `{whole.called}`")
    return int(params - sum(one or 0 for one in pruned))


def _named(word: str) -> Callable[[GraphPart], int]:
    """Return a count of the learned values of weights whose name contains `word`."""

    def counted(node: LayerNode) -> int:
        return sum(prod(shape) for name, shape in node.plan.weights.items() if word in name) if not node.owner else 0

    return _sum(counted)


def _field(entry: Callable[[ReceptiveField], Sequence[Any]]) -> Callable[[GraphPart], Any]:
    def measured(whole: GraphPart) -> Any:
        field = whole.receptive_field
        if isinstance(field, ReceptiveField) and not field.is_global:
            values = ["global" if v is None else _number(v) for v in entry(field)]
            return values[0] if len(set(values)) == 1 else values
        if field is None:
            raise Unmeasured(f"{whole.name or 'the network'} has no positions")
        if isinstance(field, UnknownReceptiveField):
            raise Unmeasured(f"the receptive field cannot be followed from `{field.node}` on")
        if field == "nothing":
            raise Unmeasured(f"{whole.name} sees nothing of the input")
        return "global"

    return measured


def _number(value: Any) -> int | float:
    return int(value) if value == int(value) else float(value)


def _depth(whole: GraphPart) -> int:
    """Return the number of weight layers on the longest path from an input to the end of a part."""
    return whole.graph.depths.get(whole.last.name, 0) if whole.last is not None else 0


def _paths(whole: GraphPart) -> int:
    """Return the number of paths from the inputs to the first output that pass through the end of a part."""
    to_node, onward = whole.graph.path_counts
    end = (whole.last.name if whole.last is not None else whole.name) or next(iter(whole.graph.outputs.values()))
    return to_node[end] * onward[end]


def _linear_regions_bound(whole: GraphPart) -> int:
    """Return the largest number of linear regions of a shallow rectifier network.

    It is the sum of C(D, j) for D units and j from 0 to the number of inputs.
    Errors: Unmeasured for other networks, and where the number has more than MOST_BITS bits.
    Source: Zaslavsky 1975, as in Prince 2023, section 3.8.
    """
    kinds = [node.kind for node in whole.graph.nodes]
    if (
        len(kinds) not in (2, 3)
        or kinds[0] != "linear"
        or kinds[1] not in RECTIFIERS
        or kinds[2:] not in ([], ["linear"])
    ):
        raise Unmeasured("linear regions are bounded for `linear`, a rectifier, `linear`")
    first = whole.graph.nodes[0]
    units, inputs = first.shape.channels, first.arriving[0].channels
    most = min(inputs, units)
    # C(D, j) has at most j * log2(D) bits: checked before the sum, whose terms are that long
    if most * units.bit_length() > MOST_BITS:
        raise Unmeasured(f"{units:,} units on {inputs:,} inputs make a number too long to work out")
    if inputs >= units:  # the sum of a whole row of Pascal's triangle, without adding it up
        return 1 << units
    return sum(accumulate(range(most), lambda term, j: term * (units - j) // (j + 1), initial=1))


MEASURES: dict[str, Callable[[GraphPart], Any]] = {
    "params": lambda whole: _sum(lambda node: node.params)(whole) + _of_objective(whole),
    "trainable": lambda whole: (
        _sum(lambda node: 0 if node.frozen else node.params)(whole) + _trained_of_objective(whole)
    ),
    "remaining": _remaining,
    "buffers": _sum(lambda node: node.buffers),
    "weights": _named("weight"),
    "biases": _named("bias"),
    "macs": _sum(lambda node: node.plan.macs),
    "activation_bytes": _sum(lambda node: node.activation_bytes),
    "shape": lambda whole: list(whole.shape),
    "arriving": lambda whole: list(whole.arriving),
    "units": lambda whole: whole.shape.count,
    "receptive_field": _field(lambda field: field.size),
    "receptive_field_stride": _field(lambda field: field.stride),
    "receptive_field_start": _field(lambda field: field.start),
    "depth": _depth,
    "paths": _paths,
    "linear_regions_bound": _linear_regions_bound,
}

SUMMED = ("params", "trainable", "remaining", "buffers", "weights", "biases", "macs", "activation_bytes")
"""Quantities that add up over several networks."""

ATTRIBUTES: dict[str, Callable[[GraphPart], Any]] = {
    **MEASURES,
    "count": LayerCounts,
    "channels": lambda whole: whole.shape.channels,
    "size": lambda whole: list(whole.shape.size),
    "field": MEASURES["receptive_field"],
    "stride": MEASURES["receptive_field_stride"],
    "start": MEASURES["receptive_field_start"],
}
"""Attributes of a part that an expression can read: `${conv_1.NAME}`."""
