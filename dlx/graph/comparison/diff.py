"""The difference of two experiments: layers added, removed or changed, their costs, and other settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ...errors import Problem, SpecError
from ...objectives import default_objective
from ...registry import Declared, Strict
from ...shapes import Shape
from ...spec import Experiment, Train
from ...spec.sections.networks import ONE
from ...spec.sections.stages import PATH as STAGES
from ..graph import AnyReceptiveField, Graph, LayerNode, receptive_field_as_json
from ..graphs import Graphs
from ..stages import trace_all
from .align import align_nodes

Sides = tuple[Any, Any]
"""A value in `a` and in `b`; None where there is none."""
COUNTS = ("params", "trainable", "buffers", "macs", "activation_bytes")
MOST_STEPS = 200
"""Largest number of nodes visited on the way back from one input."""


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer of `a` and its counterpart in `b`; one of them is None where it was added or removed.

    `options` and `facts` hold the differences. Facts are the kind, the inputs and their shapes (`inputs`,
    `arriving`), the output's `shape`, and the node whose weights it shares.
    """

    a: LayerNode | None
    b: LayerNode | None
    options: Mapping[str, Sides] = field(default_factory=dict)
    facts: Mapping[str, Sides] = field(default_factory=dict)

    @property
    def change(self) -> Literal["added", "removed", "changed", "unchanged"]:
        if self.a is None:
            return "added"
        if self.b is None:
            return "removed"
        return "changed" if self.options or self.facts else "unchanged"

    @property
    def node(self) -> LayerNode:
        """The node in `b`, or else the removed one."""
        node = self.b or self.a
        assert node is not None
        return node

    @property
    def params(self) -> int:
        """The parameters of `b` less those of `a`; the same for the other costs."""
        return (self.b.params if self.b else 0) - (self.a.params if self.a else 0)

    @property
    def macs(self) -> int:
        return (self.b.plan.macs if self.b else 0) - (self.a.plan.macs if self.a else 0)

    @property
    def activation_bytes(self) -> int:
        return (self.b.activation_bytes if self.b else 0) - (self.a.activation_bytes if self.a else 0)

    @property
    def receptive_field(self) -> tuple[AnyReceptiveField, AnyReceptiveField]:
        return (self.a.receptive_field if self.a else None, self.b.receptive_field if self.b else None)

    @property
    def receptive_field_texts(self) -> tuple[str, str]:
        """The receptive field on both sides, as a table shows it."""
        return (self.a.receptive_field_text if self.a else "", self.b.receptive_field_text if self.b else "")

    def as_json(self) -> dict[str, Any]:
        """Return the names where nothing changed; else also both sides of each change, and costs as `b` less `a`."""
        names = {"change": self.change, "a": self.a and self.a.name, "b": self.b and self.b.name}
        if self.change == "unchanged":
            return names
        return names | {
            "differs": [*(["options"] if self.options else []), *self.facts],
            "kind": _sides(self.a and self.a.kind, self.b and self.b.kind),
            "options": {name: _sides(*map(plain, sides)) for name, sides in self.options.items()},
            "inputs": _sides(self.a and list(self.a.inputs), self.b and list(self.b.inputs)),
            "shape": _sides(self.a and list(self.a.shape), self.b and list(self.b.shape)),
            "params": self.params,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "receptive_field": _sides(*map(receptive_field_as_json, self.receptive_field)),
        }


@dataclass(frozen=True, slots=True)
class Setting:
    """A value outside the layers that differs, by its key in the spec."""

    key: str
    a: Any
    b: Any

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "a": self.a, "b": self.b}


@dataclass(frozen=True)
class Diff:
    """Two experiments, their graphs aligned, and the settings that differ."""

    a: Graph
    b: Graph
    changes: tuple[LayerChange, ...]
    settings: tuple[Setting, ...]

    @cached_property
    def same_network(self) -> bool:
        return all(one.change == "unchanged" for one in self.changes)

    @property
    def renamed(self) -> int:
        """Number of layers that have another name in `b`."""
        return sum(one.a is not None and one.b is not None and one.a.name != one.b.name for one in self.changes)

    def totals(self) -> dict[str, Sides]:
        counts = {name: (getattr(self.a, name), getattr(self.b, name)) for name in COUNTS}
        return {"layers": (len(self.a.nodes), len(self.b.nodes)), **counts}

    def as_json(self) -> dict[str, Any]:
        """Return `layers` in order, unchanged ones included; `totals` and `settings` with both sides."""
        receptive_fields = _sides(
            receptive_field_as_json(self.a.receptive_field), receptive_field_as_json(self.b.receptive_field)
        )
        return {
            "a": self.a.name,
            "b": self.b.name,
            "layers": [change.as_json() for change in self.changes],
            "totals": {name: _sides(*sides) for name, sides in self.totals().items()}
            | {"receptive_field": receptive_fields},
            "settings": [setting.as_json() for setting in self.settings],
        }


@dataclass(frozen=True)
class Diffs:
    """The difference of two experiments with several networks, which are aligned by name."""

    a: Graphs
    b: Graphs
    networks: Mapping[str, Diff]
    settings: tuple[Setting, ...]

    @cached_property
    def same_network(self) -> bool:
        """Whether all networks are the same."""
        same = all(each.same_network and not each.settings for each in self.networks.values())
        return same and self.a.keys() == self.b.keys()

    def totals(self) -> dict[str, Sides]:
        return {name: (getattr(self.a, name), getattr(self.b, name)) for name in COUNTS}

    def as_json(self) -> dict[str, Any]:
        """Return the document of each network that both have, under `networks`, and totals over all networks."""
        return {
            "a": self.a.name,
            "b": self.b.name,
            "networks": {name: each.as_json() for name, each in self.networks.items()},
            "totals": {name: _sides(*sides) for name, sides in self.totals().items()},
            "settings": [setting.as_json() for setting in self.settings],
        }


def diff(a: Experiment, b: Experiment) -> Diff | Diffs:
    """Compare `b` with `a`.

    Errors: SpecError with the mistakes of both, or where only one of them has several networks.
    """
    graphs_a, graphs_b = _trace_both(a, b)
    if graphs_a.is_one and graphs_b.is_one:
        found = _diff(graphs_a.one, graphs_b.one, "network")
        return replace(found, settings=(*found.settings, *_all_settings(a, b, graphs_a, graphs_b)))
    if graphs_a.is_one or graphs_b.is_one:
        several, one = (b, a) if graphs_a.is_one else (a, b)
        message = f"this spec has `networks`, and {one.path} has one `network`"
        hint = "Write that one as `networks: {NAME: ...}`: networks are compared by name."
        raise SpecError(Problem(message, hint, several.place("networks"), "networks"))
    both = [name for name in graphs_a if name in graphs_b]
    found_by_name = {name: _diff(graphs_a[name], graphs_b[name], f"networks.{name}") for name in both}
    unpaired = tuple(_unpaired_networks(graphs_a, graphs_b))
    return Diffs(graphs_a, graphs_b, found_by_name, (*unpaired, *_all_settings(a, b, graphs_a, graphs_b)))


def _diff(a: Graph, b: Graph, path: str) -> Diff:
    """Align two networks; the settings are inputs and outputs that differ."""
    pairs = align_nodes(a.nodes, b.nodes)
    wiring = _Wiring(a, b, pairs)
    return Diff(a, b, tuple(_change(x, y, wiring) for x, y in pairs), tuple(_ports(a, b, wiring, path)))


def _unpaired_networks(a: Graphs, b: Graphs) -> Iterator[Setting]:
    """Yield the networks that only one of the two has."""
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b:
            in_a, in_b = (
                {"layers": len(graphs[name].nodes), "params": graphs[name].params} if name in graphs else None
                for graphs in (a, b)
            )
            yield Setting(f"networks.{name}", in_a, in_b)


def _trace_both(*experiments: Experiment) -> list[Graphs]:
    graphs, problems = [], []
    for experiment in experiments:
        try:
            graphs.append(trace_all(experiment))
        except SpecError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise SpecError(*problems)
    return graphs


# --- layers ---------------------------------------------------------------------------------------------------------


class _Wiring:
    """The correspondence of the nodes of `a` and `b`, also past nodes that have no counterpart."""

    def __init__(self, a: Graph, b: Graph, pairs: Sequence[tuple[LayerNode | None, LayerNode | None]]) -> None:
        self.a, self.b = a.by_name, b.by_name
        self.in_b = {x.name: y.name for x, y in pairs if x and y}
        self.in_a = {of_b: of_a for of_a, of_b in self.in_b.items()}
        self.ports = dict(zip(a.inputs, b.inputs, strict=False))  # the inputs of the networks, in their order

    def moved(self, x: Sequence[str], y: Sequence[str]) -> bool:
        """Whether the inputs of a node and of its counterpart are different nodes."""
        return len(x) != len(y) or not all(map(self.correspond, x, y))

    def correspond(self, of_a: str, of_b: str) -> bool:
        """Whether two nodes are counterparts, or become so without the layers added or removed before them."""
        origins, others = _origins(of_a, self.a, self.in_b), _origins(of_b, self.b, self.in_a)
        if origins is None or others is None:
            return True
        return not others.isdisjoint(self.in_b.get(name) or self.ports.get(name, "") for name in origins)


def _origins(name: str, nodes: Mapping[str, LayerNode], matched: Mapping[str, str]) -> set[str] | None:
    """Return the nearest matched nodes or network inputs that lead to `name`; None where they are too far."""
    found: set[str] = set()
    seen, waiting = {name}, [name]
    while waiting:
        if len(seen) > MOST_STEPS:
            return None
        at = waiting.pop()
        if at in matched or at not in nodes:
            found.add(at)
        else:
            waiting += [source for source in nodes[at].inputs if source not in seen]
            seen.update(nodes[at].inputs)
    return found


def _change(x: LayerNode | None, y: LayerNode | None, wiring: _Wiring) -> LayerChange:
    if x is None or y is None:
        return LayerChange(x, y)
    return LayerChange(x, y, _options(x, y), dict(_facts(x, y, wiring)))


def _options(x: LayerNode, y: LayerNode) -> dict[str, Sides]:
    """Return the options that differ.

    Of two kinds only common options and those not at their defaults are compared, else every option would differ.
    """
    mine, yours = x.layer.options(), y.layer.options()
    if x.kind != y.kind:
        keep = {n for n in (*mine, *yours) if n in mine and n in yours} | _not_default(x) | _not_default(y)
        mine, yours = ({n: v for n, v in options.items() if n in keep} for options in (mine, yours))
    names = dict.fromkeys((*mine, *yours))
    return {n: (mine.get(n), yours.get(n)) for n in names if mine.get(n) != yours.get(n)}


def _not_default(node: LayerNode) -> set[str]:
    """Return the options that are not at their defaults."""
    cls = type(node.layer)
    return {name for name in cls.model_fields if getattr(node.layer, name) != cls.default_of(name)}


def _facts(x: LayerNode, y: LayerNode, wiring: _Wiring) -> Iterator[tuple[str, Sides]]:
    if x.kind != y.kind:
        yield "kind", (x.kind, y.kind)
    if wiring.moved(x.inputs, y.inputs):
        yield "inputs", (list(x.inputs), list(y.inputs))
    if _typed(*x.arriving) != _typed(*y.arriving):
        yield "arriving", (x.arriving, y.arriving)
    if _typed(x.shape) != _typed(y.shape):
        yield "shape", (x.shape, y.shape)
    for name, mine, yours in (("owner", x.owner, y.owner), ("tied", x.tied, y.tied)):
        if (wiring.in_b.get(mine, mine)) != yours:
            yield name, (mine or None, yours or None)
    if (frozen := (_freeze(x), _freeze(y)))[0] != frozen[1]:
        yield "frozen", frozen
    if x.pruned != y.pruned:
        yield "pruned", (x.pruned, y.pruned)
    if x.values != y.values:
        yield "values", (x.values, y.values)


def _freeze(node: LayerNode) -> bool | str:
    """Return whether a node is frozen, or how where that is not for good or in evaluation mode."""
    until = f"until {node.frozen_until}" if node.frozen_until is not None else ""
    how = ", ".join(filter(None, (until, "in evaluation mode" if node.held else "")))
    return how or node.frozen


def _typed(*shapes: Shape) -> list[tuple[Shape, str]]:
    return [(shape, shape.dtype) for shape in shapes]


# --- settings -------------------------------------------------------------------------------------------------------


def _ports(a: Graph, b: Graph, wiring: _Wiring, path: str) -> Iterator[Setting]:
    """Yield the inputs and outputs of the networks that differ."""
    for name in dict.fromkeys((*a.inputs, *b.inputs)):
        mine, yours = a.inputs.get(name), b.inputs.get(name)
        if mine != yours or (mine and yours and mine.dtype != yours.dtype):
            yield Setting(f"{path}.inputs.{name}", *(list(x) if x else None for x in (mine, yours)))
    for name in dict.fromkeys((*a.outputs, *b.outputs)):
        of_a, of_b = a.outputs.get(name), b.outputs.get(name)
        if of_a is None or of_b is None or not wiring.correspond(of_a, of_b):
            yield Setting(f"{path}.outputs.{name}", of_a, of_b)


def _settings(a: Experiment, b: Experiment) -> Iterator[Setting]:
    """Yield the values of the other sections that differ, defaults included."""
    for key in ("data", "objective", "init", "weights", "prune", "train"):
        mine, yours = (_section(e, key) for e in (a, b))
        yield from _compare(key, mine, yours)
    for name in dict.fromkeys((*a.followers, *b.followers)):
        follow = [e.followers[name].as_json() if name in e.followers else None for e in (a, b)]
        yield from _compare(f"networks.{name}.follow", *follow)
    patterns = [[one.plain() for one in e.freeze] for e in (a, b)]
    yield from _compare("freeze", *patterns)
    plugins = [[f"{one.name} {one.digest[:12]}" for one in e.plugins] for e in (a, b)]
    yield from _compare("plugins", *plugins)


def _all_settings(a: Experiment, b: Experiment, of_a: Graphs, of_b: Graphs) -> Iterator[Setting]:
    """Yield the settings that differ, and those of stages before the last one, but for what differs in that too."""
    last = list(_settings(a, b))
    yield from last
    names = [[stage.name for stage in e.stages] for e in (a, b)]
    if names[0] != names[1]:
        yield Setting("stages", *(each or None for each in names))
    shared = {(one.key, str(one.a), str(one.b)) for one in last}
    pairs = {stage.name: stage.experiment for stage in b.stages[:-1]}
    for name, mine in ((stage.name, stage.experiment) for stage in a.stages[:-1]):
        if name in pairs:
            yield from _networks_of(f"{STAGES}.{name}", of_a.stages[name], of_b.stages[name])
            for one in _settings(mine, pairs[name]):
                if (one.key, str(one.a), str(one.b)) not in shared:
                    yield replace(one, key=f"{STAGES}.{name}.{one.key}")


def _networks_of(path: str, a: Graphs, b: Graphs) -> Iterator[Setting]:
    """Yield the networks of a stage that differ in their layers, with their sizes."""
    for name in dict.fromkeys((*a, *b)):
        pair = a.get(name), b.get(name)
        if None in pair or not _diff(a[name], b[name], name).same_network:
            sizes = (
                {"layers": len(graph.nodes), "params": graph.params, "trainable": graph.trainable} if graph else None
                for graph in pair
            )
            yield Setting(f"{path}.{'network' if name == ONE else f'networks.{name}'}", *sizes)


def _section(experiment: Experiment, key: str) -> Any:
    if key == "objective" and experiment.objective is None and experiment.data is not None:
        return default_objective(experiment.data.facts()) if not experiment.networks else None
    if key == "init" and experiment.inits:
        return experiment.inits
    return getattr(experiment, key)


def _compare(key: str, a: Any, b: Any) -> Iterator[Setting]:
    if isinstance(a, Strict) and type(a) is type(b):
        inside = f"{key}.{a.kind}" if isinstance(a, Declared) else key
        mine, yours = _fields(a), _fields(b)
        for name in mine:
            yield from _compare(f"{inside}.{name}", mine[name], yours[name])
    elif _by_network(a) and _by_network(b):
        for name in dict.fromkeys((*a, *b)):
            yield from _compare(f"{key}.{name}", a.get(name), b.get(name))
    elif a != b:
        yield Setting(key, plain(a), plain(b))


def _fields(made: Strict) -> dict[str, Any]:
    """Return the value of each field; of `train` also by network."""
    return made.values() if isinstance(made, Train) else {n: getattr(made, n) for n in type(made).model_fields}


def _by_network(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, Declared) for one in value.values())


def plain(value: Any) -> Any:
    """Return a value as a spec would write it: a declared one as its kind and its fields that are not at defaults."""
    if isinstance(value, Strict):
        fields = {
            name: plain(getattr(value, name))
            for name in type(value).model_fields
            if getattr(value, name) != value.default_of(name)
        }
        return ({value.kind: fields} if fields else value.kind) if isinstance(value, Declared) else fields
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _sides(a: Any, b: Any) -> dict[str, Any]:
    return {"a": a, "b": b}
