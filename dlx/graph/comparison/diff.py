"""Two experiments side by side: layers that were added, removed or changed, what that costs, and other settings."""

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
from ..graph import AnyReceptiveField, Graph, LayerNode, receptive_field_as_json
from ..graphs import Graphs
from ..trace import trace_all
from .align import aligned

Sides = tuple[Any, Any]
"""A value in `a` and in `b`; None where there is none."""
COUNTS = ("params", "trainable", "buffers", "macs", "activation_bytes")
MOST_STEPS = 200
"""Nodes looked at on the way back from one input."""


@dataclass(frozen=True, slots=True)
class Step:
    """A layer of `a` and its counterpart in `b`; one of them is None where it was added or removed.

    `options` and `facts` hold what differs: facts are the kind, what comes in (`arriving`, `inputs`), the output's
    `shape`, and whose weights it runs.
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
        """The one in `b`, or else the one that was removed."""
        node = self.b or self.a
        assert node is not None
        return node

    @property
    def params(self) -> int:
        """How many more `b` has; so for the others."""
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
    def fields(self) -> tuple[str, str]:
        """The receptive field on both sides, in a word."""
        return (self.a.receptive_field_text if self.a else "", self.b.receptive_field_text if self.b else "")

    def as_json(self) -> dict[str, Any]:
        """Names alone where nothing changed; else what did, both sides, and counts as `b` less `a`."""
        told = {"change": self.change, "a": self.a and self.a.name, "b": self.b and self.b.name}
        if self.change == "unchanged":
            return told
        return told | {
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
    """A value outside the layers that differs."""

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
    steps: tuple[Step, ...]
    settings: tuple[Setting, ...]

    @cached_property
    def same_network(self) -> bool:
        return all(step.change == "unchanged" for step in self.steps)

    @property
    def renamed(self) -> int:
        """Layers that are called otherwise in `b`."""
        return sum(step.a is not None and step.b is not None and step.a.name != step.b.name for step in self.steps)

    def totals(self) -> dict[str, Sides]:
        counts = {name: (getattr(self.a, name), getattr(self.b, name)) for name in COUNTS}
        return {"layers": (len(self.a.nodes), len(self.b.nodes)), **counts}

    def as_json(self) -> dict[str, Any]:
        """`layers` in their order, those that did not change too; `totals` and `settings` with both sides."""
        sees = _sides(
            receptive_field_as_json(self.a.receptive_field), receptive_field_as_json(self.b.receptive_field)
        )
        return {
            "a": self.a.name,
            "b": self.b.name,
            "layers": [step.as_json() for step in self.steps],
            "totals": {name: _sides(*sides) for name, sides in self.totals().items()} | {"receptive_field": sees},
            "settings": [setting.as_json() for setting in self.settings],
        }


@dataclass(frozen=True)
class Diffs:
    """Two experiments with several networks: those of one name aligned, and the settings that differ."""

    a: Graphs
    b: Graphs
    networks: Mapping[str, Diff]
    settings: tuple[Setting, ...]

    @cached_property
    def same_network(self) -> bool:
        """Whether all networks are the same."""
        alike = all(each.same_network and not each.settings for each in self.networks.values())
        return alike and self.a.keys() == self.b.keys()

    def totals(self) -> dict[str, Sides]:
        return {name: (getattr(self.a, name), getattr(self.b, name)) for name in COUNTS}

    def as_json(self) -> dict[str, Any]:
        """Under `networks` the document of each that both have, by name; totals over all networks."""
        return {
            "a": self.a.name,
            "b": self.b.name,
            "networks": {name: each.as_json() for name, each in self.networks.items()},
            "totals": {name: _sides(*sides) for name, sides in self.totals().items()},
            "settings": [setting.as_json() for setting in self.settings],
        }


def diff(a: Experiment, b: Experiment) -> Diff | Diffs:
    """What `b` is, seen from `a`. SpecError with the mistakes of both, or where one of them has several networks."""
    graphs_a, graphs_b = _traced(a, b)
    if graphs_a.is_one and graphs_b.is_one:
        found = _diff(graphs_a.one, graphs_b.one, "network")
        return replace(found, settings=(*found.settings, *_settings(a, b)))
    if graphs_a.is_one or graphs_b.is_one:
        several, one = (b, a) if graphs_a.is_one else (a, b)
        message = f"this spec has `networks`, and {one.path} has one `network`"
        hint = "Write that one as `networks: {NAME: ...}`: networks are compared by name."
        raise SpecError(Problem(message, hint, several.place("networks"), "networks"))
    both = [name for name in graphs_a if name in graphs_b]
    found_by_name = {name: _diff(graphs_a[name], graphs_b[name], f"networks.{name}") for name in both}
    alone = tuple(_alone(graphs_a, graphs_b))
    return Diffs(graphs_a, graphs_b, found_by_name, (*alone, *_settings(a, b)))


def _diff(a: Graph, b: Graph, path: str) -> Diff:
    """Two networks, aligned; settings are the inputs and outputs that differ."""
    pairs = aligned(a.nodes, b.nodes)
    wiring = _Wiring(a, b, pairs)
    return Diff(a, b, tuple(_step(x, y, wiring) for x, y in pairs), tuple(_ends(a, b, wiring, path)))


def _alone(a: Graphs, b: Graphs) -> Iterator[Setting]:
    """Networks that one of the two does not have."""
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b:
            here, there = (
                {"layers": len(graphs[name].nodes), "params": graphs[name].params} if name in graphs else None
                for graphs in (a, b)
            )
            yield Setting(f"networks.{name}", here, there)


def _traced(*experiments: Experiment) -> list[Graphs]:
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
    """Which node of `b` stands for which of `a`, and what leads where past those that have no counterpart."""

    def __init__(self, a: Graph, b: Graph, pairs: Sequence[tuple[LayerNode | None, LayerNode | None]]) -> None:
        self.a, self.b = a.by_name, b.by_name
        self.in_b = {x.name: y.name for x, y in pairs if x and y}
        self.in_a = {there: here for here, there in self.in_b.items()}
        self.ports = dict(zip(a.inputs, b.inputs, strict=False))  # the inputs of the networks, in their order

    def moved(self, x: Sequence[str], y: Sequence[str]) -> bool:
        """Whether two lists of inputs, of a node and of its counterpart, mean different nodes."""
        return len(x) != len(y) or not all(map(self.alike, x, y))

    def alike(self, here: str, there: str) -> bool:
        """Whether the two stand for each other, or do so but for layers that were added or removed between."""
        origins, others = _behind(here, self.a, self.in_b), _behind(there, self.b, self.in_a)
        if origins is None or others is None:
            return True
        return not others.isdisjoint(self.in_b.get(name) or self.ports.get(name, "") for name in origins)


def _behind(name: str, nodes: Mapping[str, LayerNode], matched: Mapping[str, str]) -> set[str] | None:
    """The matched nodes or inputs of the network that lead to `name` through nodes that are not; None if too far."""
    found: set[str] = set()
    seen, waiting = {name}, [name]
    while waiting:
        if len(seen) > MOST_STEPS:
            return None
        here = waiting.pop()
        if here in matched or here not in nodes:
            found.add(here)
        else:
            waiting += [source for source in nodes[here].inputs if source not in seen]
            seen.update(nodes[here].inputs)
    return found


def _step(x: LayerNode | None, y: LayerNode | None, wiring: _Wiring) -> Step:
    if x is None or y is None:
        return Step(x, y)
    return Step(x, y, _options(x, y), dict(_facts(x, y, wiring)))


def _options(x: LayerNode, y: LayerNode) -> dict[str, Sides]:
    """Options that differ; those of one side alone where the kind did."""
    mine, yours = x.layer.options(), y.layer.options()
    if x.kind != y.kind:
        keep = {n for n in (*mine, *yours) if n in mine and n in yours} | _given(x) | _given(y)
        mine, yours = ({n: v for n, v in options.items() if n in keep} for options in (mine, yours))
    names = dict.fromkeys((*mine, *yours))
    return {n: (mine.get(n), yours.get(n)) for n in names if mine.get(n) != yours.get(n)}


def _given(node: LayerNode) -> set[str]:
    """Options that are not at their defaults."""
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
    if x.frozen != y.frozen:
        yield "frozen", (x.frozen, y.frozen)
    if x.values != y.values:
        yield "values", (x.values, y.values)


def _typed(*shapes: Shape) -> list[tuple[Shape, str]]:
    return [(shape, shape.dtype) for shape in shapes]


# --- settings -------------------------------------------------------------------------------------------------------


def _ends(a: Graph, b: Graph, wiring: _Wiring, path: str) -> Iterator[Setting]:
    """Inputs and outputs of the networks that differ."""
    for name in dict.fromkeys((*a.inputs, *b.inputs)):
        mine, yours = a.inputs.get(name), b.inputs.get(name)
        if mine != yours or (mine and yours and mine.dtype != yours.dtype):
            yield Setting(f"{path}.inputs.{name}", *(list(x) if x else None for x in (mine, yours)))
    for name in dict.fromkeys((*a.outputs, *b.outputs)):
        here, there = a.outputs.get(name), b.outputs.get(name)
        if here is None or there is None or not wiring.alike(here, there):
            yield Setting(f"{path}.outputs.{name}", here, there)


def _settings(a: Experiment, b: Experiment) -> Iterator[Setting]:
    """Values of the other sections that differ, defaults and all."""
    for key in ("data", "objective", "init", "train"):
        mine, yours = (_section(e, key) for e in (a, b))
        yield from _compared(key, mine, yours)
    patterns = [[node.value for node in e.freeze] for e in (a, b)]
    yield from _compared("freeze", *patterns)


def _section(experiment: Experiment, key: str) -> Any:
    if key == "objective" and experiment.objective is None and experiment.data is not None:
        return default_objective(experiment.data.facts()) if not experiment.networks else None
    if key == "init" and experiment.inits:
        return experiment.inits
    return getattr(experiment, key)


def _compared(key: str, a: Any, b: Any) -> Iterator[Setting]:
    if isinstance(a, Strict) and type(a) is type(b):
        inside = f"{key}.{a.kind}" if isinstance(a, Declared) else key
        mine, yours = _fields(a), _fields(b)
        for name in mine:
            yield from _compared(f"{inside}.{name}", mine[name], yours[name])
    elif _by_network(a) and _by_network(b):
        for name in dict.fromkeys((*a, *b)):
            yield from _compared(f"{key}.{name}", a.get(name), b.get(name))
    elif a != b:
        yield Setting(key, plain(a), plain(b))


def _fields(made: Strict) -> dict[str, Any]:
    """What each field holds; of `train` also by network."""
    return made.values() if isinstance(made, Train) else {n: getattr(made, n) for n in type(made).model_fields}


def _by_network(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, Declared) for one in value.values())


def plain(value: Any) -> Any:
    """A value as a spec would have it: what is declared by its kind and the fields that are not at their defaults."""
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
