"""Blocks that run again with equal arguments on values of equal shapes: their layers are planned once.

A network of a thousand layers is a handful of blocks, used over and over. What a block makes follows from its
arguments and the shapes that come in, as long as it takes no other node: its layers are then added again under new
names, and only receptive fields, which grow along the way, are worked out anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ...layers import Layer, Plan
from .scope import Arriving, Names, Scope

if TYPE_CHECKING:
    from ...errors import Mark
    from ...spec.syntax.read import Node
    from ..graph import LayerNode, Wire
    from .expand import Expander

Key = tuple[Any, ...]


class Step(NamedTuple):
    """A layer of a block; `name` and `inputs` as they were the first time."""

    name: str
    kind: str
    layer: Layer
    inputs: tuple[str, ...]
    plan: Plan
    mark: Mark


class Record(NamedTuple):
    """What a block made the first time: its layers, the names and scopes inside it, its output, and its cost."""

    names: Names
    arriving: tuple[str, ...]
    steps: tuple[Step, ...]
    scopes: tuple[tuple[str, Node, Scope], ...]
    output: str
    cost: tuple[int, ...]


class Moment(NamedTuple):
    """How much there was before a block ran."""

    nodes: int
    scopes: int
    results: int
    problems: int
    cost: tuple[int, ...]


class Repeats:
    """The blocks of one walk that were seen before."""

    def __init__(self, expander: Expander) -> None:
        self.expander = expander
        self.known: dict[Key, Record] = {}

    def key(self, kind: str, args: dict[str, Any], scope: Scope, arriving: Arriving) -> Key | None:
        """Return what a block depends on; None where that is more than its arguments and shapes."""
        wires, one = arriving.wires, self.expander
        if one.replaying is not None or any(wire.shape is None or wire.is_input for wire in wires):
            return None
        names = [wire.name for wire in wires]
        shapes = tuple((wire.shape, wire.shape.dtype) for wire in wires if wire.shape is not None)
        return kind, repr(args), shapes, arriving.names, tuple(map(names.index, names)), scope.calls, one.depth

    def again(self, key: Key | None, names: Names, arriving: Arriving) -> Wire | None:
        """Add the layers of a block that was seen before, in the scope `names`; None where it was not."""
        record, one = self.known.get(key) if key is not None else None, self.expander
        if record is None or not one.usage.takes(record.cost[:-1]) or one.item_budget.items < record.cost[-1]:
            return None
        one.item_budget.items -= record.cost[-1]
        placer, old = one.placer, len(record.names.prefix)
        wires = dict(zip(record.arriving, arriving.wires, strict=True))
        for step in record.steps:
            full = names.prefix + step.name[old:]
            placer.marks[full] = step.mark
            inputs = [wires[name] for name in step.inputs]
            wires[step.name] = placer.add(full, step.kind, step.layer, inputs, step.plan, step.mark)[1]
        moved = {id(before): after for before, after in _renamed(record.names, names, wires, old)}
        for full, entry, scope in record.scopes:
            there = Scope(scope.vars, moved[id(scope.names)], wires[scope.block_input.name], scope.calls)
            one.scopes.setdefault(names.prefix + full[old:], (entry, there))
        return wires[record.output]

    def moment(self) -> Moment:
        """Return how much there is now."""
        one = self.expander
        counts = len(one.placer.nodes), len(one.scopes), len(one.placer.results), len(one.problems.found)
        return Moment(*counts, (*one.usage.cost, -one.item_budget.items))

    def learn(self, key: Key | None, before: Moment, names: Names, arriving: Arriving, y: Wire) -> None:
        """Keep what a block has made since a moment, where a second use of it gives the same."""
        one, now = self.expander, self.moment()
        if key is None or (now.results, now.problems) != (before.results, before.problems):
            return
        nodes = one.placer.nodes[before.nodes :]
        scopes = [(full, *around) for full, around in list(one.scopes.items())[before.scopes :]]
        known = {wire.name for wire in arriving.wires} | {node.name for node in nodes}
        taken = [name for node in nodes for name in node.inputs]
        taken += [y.name, *(scope.block_input.name for *_, scope in scopes)]
        inside = list(_below(names))
        taken += [wire.name for each in inside for wire in each.wires.values()]
        own = {id(each) for each in inside}
        if names.looks_out or not all(map(_is_plain, nodes)) or not known.issuperset(taken):
            return
        if any(id(scope.names) not in own for *_, scope in scopes):
            return
        steps = (Step(node.name, node.kind, node.layer, node.inputs, node.plan, node.mark) for node in nodes)
        cost = tuple(after - earlier for after, earlier in zip(now.cost, before.cost, strict=True))
        entering = tuple(wire.name for wire in arriving.wires)
        self.known[key] = Record(names, entering, tuple(steps), tuple(scopes), y.name, cost)


def _is_plain(node: LayerNode) -> bool:
    """Whether a node has weights of its own, drawn as any others."""
    return not (node.owner or node.tied or node.result or node.values)


def _below(names: Names) -> Iterator[Names]:
    """Yield a scope and those inside it."""
    yield names
    for inner in names.inner.values():
        yield from _below(inner)


def _renamed(before: Names, after: Names, wires: dict[str, Wire], old: int) -> Iterator[tuple[Names, Names]]:
    """Fill a scope as another one was filled, and yield both, with those inside them."""
    root = after.prefix
    pairs = [(before, after)]
    while pairs:
        first, second = pairs.pop()
        second.wires |= {local: wires[wire.name] for local, wire in first.wires.items()}
        second.marks = first.marks | second.marks
        second.counts = first.counts
        second.inputs = first.inputs
        for local, inner in first.inner.items():
            second.inner[local] = Names(root + inner.prefix[old:], second)
            pairs.append((inner, second.inner[local]))
        yield first, second
