"""The boxes of a diagram: layers with what follows them, blocks of boxes, and equal blocks in a row as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from ...graph import Graph, LayerNode
from .labels import family, keeps_shape


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers drawn as one box: the first, and those behind it that keep its shape, such as its activation."""

    nodes: tuple[LayerNode, ...]

    @property
    def name(self) -> str:
        return self.nodes[0].name

    @property
    def first(self) -> tuple[LayerNode, ...]:
        """The layers drawn, which are all."""
        return self.nodes


@dataclass(frozen=True, eq=False)
class Block:
    """Boxes under one name, or without one where a spec repeats layers; `times` equal ones in a row are one."""

    name: str
    items: tuple[Item, ...]
    """The boxes of the first repetition."""
    nodes: tuple[LayerNode, ...]
    """The layers of all repetitions."""
    times: int = 1

    @cached_property
    def first(self) -> tuple[LayerNode, ...]:
        """The layers of the first repetition."""
        return self.nodes[: len(self.nodes) // self.times]

    @property
    def title(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {node.name: place % len(self.first) for place, node in enumerate(self.nodes)}

    def place(self, name: str) -> int:
        """Return the number of a layer within its repetition."""
        return self._places[name]

    @property
    def params(self) -> int:
        """Learned values of all repetitions."""
        return sum(node.params for node in self.nodes)

    @property
    def macs(self) -> int:
        return sum(node.plan.macs for node in self.nodes)


Item = Stack | Block
MOST_PERIODS: Final = 8
"""How many lengths of what may repeat are tried from each box on."""
Opened = Callable[[Block], bool]
"""Whether the inside of a block is drawn."""


class Uses:
    """Who takes each value of a graph, and the place of each layer in it."""

    def __init__(self, graph: Graph) -> None:
        self.places = {node.name: place for place, node in enumerate(graph.nodes)}
        self.by: dict[str, list[str]] = {name: [] for name in (*graph.inputs, *self.places)}
        for node in graph.nodes:
            for name in taken(node):
                self.by[name].append(node.name)
        self.outputs = frozenset(graph.outputs.values())

    def beyond(self, node: LayerNode, names: frozenset[str]) -> bool:
        """Whether a layer outside `names`, or an output of the network, takes the value of a node."""
        return node.name in self.outputs or any(name not in names for name in self.by[node.name])

    def source(self, name: str) -> int:
        """The place of a layer, or one below 0 for an input of the network."""
        return self.places.get(name, -1)


def taken(node: LayerNode) -> tuple[str, ...]:
    """Return the inputs whose values a layer takes: none for a parameter, whatever stands before it."""
    return () if node.plan.window == "nothing" else node.inputs


def blocks(graph: Graph) -> Block:
    """Return all boxes of a network, as one block without a name."""
    uses = Uses(graph)
    return Block("", _items(graph.nodes, 0, uses), graph.nodes)


def walk(block: Block) -> Iterator[Block]:
    """Yield a block and all those in it."""
    yield block
    for item in block.items:
        if isinstance(item, Block):
            yield from walk(item)


def _items(nodes: Sequence[LayerNode], depth: int, uses: Uses) -> tuple[Item, ...]:
    """Return the boxes of nodes that have `depth` scopes in common."""
    groups: dict[str, list[LayerNode]] = {}
    for node in nodes:
        groups.setdefault("/".join(node.name.split("/")[: depth + 1]), []).append(node)
    found: list[Item] = []
    for name, inside in groups.items():
        single = len(inside) == 1 and inside[0].name == name
        found.append(Stack((inside[0],)) if single else _block(name, inside, depth, uses))
    while len(shorter := _repeats_joined(found, uses)) < len(found):
        found = shorter
    return _stacked(found, uses)


def _block(name: str, nodes: Sequence[LayerNode], depth: int, uses: Uses) -> Item:
    """Return a block, or its only box."""
    items = _items(nodes, depth + 1, uses)
    only = items[0] if len(items) == 1 else None
    return only if isinstance(only, Stack) else Block(name, items, tuple(nodes))


def _stacked(items: Sequence[Item], uses: Uses) -> tuple[Item, ...]:
    """Return the boxes with each layer that keeps a shape below the one whose only use it is."""
    found: list[Item] = []
    for item in items:
        last = found[-1] if found else None
        if isinstance(item, Stack) and isinstance(last, Stack) and _follows(item.nodes[0], last.nodes[-1], uses):
            found[-1] = Stack(last.nodes + item.nodes)
        elif isinstance(item, Block) and item.times > 1:
            found.append(Block(item.name, _stacked(item.items, uses), item.nodes, item.times))
        else:
            found.append(item)
    return tuple(found)


def _follows(node: LayerNode, last: LayerNode, uses: Uses) -> bool:
    alone = node.inputs == (last.name,) and not uses.beyond(last, frozenset([node.name]))
    return alone and keeps_shape(node) and node.shape == last.shape and family(last) != "reshape"


def _repeats_joined(items: Sequence[Item], uses: Uses) -> list[Item]:
    """Return the boxes with equal ones in a row, each of which goes on from the one before, as one block."""
    keys = [tuple(_key(node) for node in item.nodes) for item in items]
    nearest: dict[Any, int] = {}
    again = [0] * len(items)
    for i in reversed(range(len(items))):
        again[i], nearest[keys[i]] = nearest.get(keys[i], 0), i
    found, begin = list[Item](), 0
    while begin < len(items):
        rounds = _rounds(items, begin, again, uses)
        found.append(_joined(rounds) if rounds else items[begin])
        begin += sum(map(len, rounds)) or 1
    return found


def _rounds(items: Sequence[Item], begin: int, again: Sequence[int], uses: Uses) -> list[Sequence[Item]]:
    """Return the rounds of boxes that repeat from `begin` on, the shortest; none where there are no two."""
    nearest = again[begin]
    for _ in range(MOST_PERIODS):
        if not nearest:
            break
        period = nearest - begin
        rounds = [items[begin:nearest]]
        while _goes_on(rounds[-1], follower := items[begin + len(rounds) * period :][:period], uses):
            rounds.append(follower)
        if len(rounds) > 1 and _is_closed(rounds, uses):
            return rounds
        nearest = again[nearest]
    return []


def _joined(rounds: Sequence[Sequence[Item]]) -> Block:
    nodes = tuple(node for each in rounds for item in each for node in item.nodes)
    (first, *others) = rounds[0]
    if not others and isinstance(first, Block) and first.times == 1:
        return Block(first.name, first.items, nodes, len(rounds))
    return Block("", tuple(rounds[0]), nodes, len(rounds))


def _key(node: LayerNode) -> Any:
    return (node.kind, node.mark, tuple(node.shape))


def _goes_on(one: Sequence[Item], other: Sequence[Item], uses: Uses) -> bool:
    """Whether boxes equal those before them, and take what those give."""
    a = [node for item in one for node in item.nodes]
    b = [node for item in other for node in item.nodes]
    if len(a) != len(b) or not all(_is_equal(x, y, uses) for x, y in zip(a, b, strict=True)):
        return False
    before = {node.name for node in a}
    return any(name in before for node in b for name in taken(node))


def _is_equal(x: LayerNode, y: LayerNode, uses: Uses) -> bool:
    """Whether two layers are the same, and take their inputs from the same place or from as far behind them."""
    if _key(x) != _key(y) or len(x.inputs) != len(y.inputs) or x.layer != y.layer:
        return False
    here, there = uses.places[x.name], uses.places[y.name]
    return all(
        name == other or (here - uses.source(name) == there - uses.source(other))
        for name, other in zip(x.inputs, y.inputs, strict=True)
    )


def _is_closed(rounds: Sequence[Sequence[Item]], uses: Uses) -> bool:
    """Whether what comes before the last round is taken by the round behind it alone."""
    names = [frozenset(node.name for item in each for node in item.nodes) for each in rounds]
    return not any(
        uses.beyond(node, names[i] | names[i + 1])
        for i, each in enumerate(rounds[:-1])
        for item in each
        for node in item.nodes
    )
