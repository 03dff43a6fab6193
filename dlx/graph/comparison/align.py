"""Two lists of nodes side by side, by what they are: inserting a layer moves names, not structure.

Scopes are matched whole first, then what is between them more and more loosely: the same kinds and options, the same
kinds, the same sort of scope. Blocks of another sort replace each other as a whole.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

from ..graph import LayerNode

Pair = tuple[LayerNode | None, LayerNode | None]
Matches = list[tuple[int, int]]

MAX_CELLS = 250_000
"""Pairs of items that are all looked at; longer lists are compared by Myers' algorithm, without tie-breaks."""
MAX_DIFFERENCES = 1_500
"""Items that differ between two long lists; beyond it they are compared piece by piece."""
PIECE = 128


@dataclass(frozen=True, slots=True)
class _Item:
    """A layer, or a scope with all that is in it."""

    name: str
    """Of the layer or scope, without the scopes around it."""
    nodes: tuple[LayerNode, ...]
    depth: int
    """Scopes around it."""
    is_scope: bool


def aligned(a: Sequence[LayerNode], b: Sequence[LayerNode]) -> list[Pair]:
    """Every node of both, in their order: with its counterpart, or with None where it has none."""
    return list(_Aligner().pairs(_items(a, 0), _items(b, 0)))


def _items(nodes: Sequence[LayerNode], depth: int) -> list[_Item]:
    """Nodes whose first `depth` scopes are the same, cut into the layers and scopes that follow."""

    def place(node: LayerNode) -> tuple[str, bool]:
        parts = node.name.split("/", depth + 1)
        return (parts[depth], len(parts) > depth + 1)

    return [_Item(name, tuple(run), depth, is_scope) for (name, is_scope), run in groupby(nodes, place)]


class _Aligner:
    """Aligns level by level; what two items are at a level is one number."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}
        self.by_layer: dict[int, int] = {}
        self.levels: list[Callable[[_Item], Hashable]] = [self.exactly, self.kinds, self.sort]

    def number(self, key: Hashable) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def token(self, node: LayerNode) -> int:
        """What a layer is: its kind and options."""
        if id(node.layer) not in self.by_layer:
            self.by_layer[id(node.layer)] = self.number((node.kind, repr(node.layer.options())))
        return self.by_layer[id(node.layer)]

    def exactly(self, item: _Item) -> Hashable:
        return (item.is_scope, *map(self.token, item.nodes))

    def kinds(self, item: _Item) -> Hashable:
        return (item.is_scope, *(node.kind for node in item.nodes))

    def sort(self, item: _Item) -> Hashable:
        """The block of a scope (`bottleneck` of `bottleneck_3`), the kind of a layer."""
        return (item.is_scope, re.sub(r"_\d+$", "", item.name) if item.is_scope else item.nodes[0].kind)

    def pairs(self, a: Sequence[_Item], b: Sequence[_Item], level: int = 0) -> Iterator[Pair]:
        """All nodes of `a` and `b`, those that match at `level` or below it together."""
        if not a or not b:
            yield from _apart(a, b)
        elif level == len(self.levels):
            yield from self.loose(a, b)
        else:
            key = self.levels[level]
            i = j = 0
            for m, n in matches([self.number(key(x)) for x in a], [self.number(key(y)) for y in b], tie(a, b)):
                yield from self.pairs(a[i:m], b[j:n], level + 1)
                yield from self.matched(a[m], b[n], level)
                i, j = m + 1, n + 1
            yield from self.pairs(a[i:], b[j:], level + 1)

    def matched(self, x: _Item, y: _Item, level: int) -> Iterator[Pair]:
        if x.is_scope and level:
            yield from self.pairs(_items(x.nodes, x.depth + 1), _items(y.nodes, y.depth + 1))
        else:
            yield from zip(x.nodes, y.nodes, strict=True)

    def loose(self, a: Sequence[_Item], b: Sequence[_Item]) -> Iterator[Pair]:
        """What matches at no level: layers on one side with the insides of scopes on the other, families in order."""
        scopes = [any(item.is_scope for item in items) for items in (a, b)]
        if scopes[0] != scopes[1]:
            yield from self.pairs(_layers(a), _layers(b))
        elif not any(scopes) and [_family(x) for x in a] == [_family(y) for y in b]:
            yield from zip((x.nodes[0] for x in a), (y.nodes[0] for y in b), strict=True)
        else:
            yield from _apart(a, b)


def _apart(a: Sequence[_Item], b: Sequence[_Item]) -> Iterator[Pair]:
    yield from ((node, None) for item in a for node in item.nodes)
    yield from ((None, node) for item in b for node in item.nodes)


def _layers(items: Sequence[_Item]) -> list[_Item]:
    return [_Item(node.name, (node,), 0, is_scope=False) for item in items for node in item.nodes]


def _family(item: _Item) -> str:
    """The file that a layer is declared in: activations, pools, norms stand for each other."""
    return type(item.nodes[0].layer).__module__.rsplit(".", 1)[-1].split("_")[0]


def tie(a: Sequence[_Item], b: Sequence[_Item]) -> Callable[[int, int], int]:
    """How much two items that match are alike besides, from 0 to 3: what comes in, and the name."""
    return lambda i, j: 2 * (a[i].nodes[0].arriving == b[j].nodes[0].arriving) + (a[i].name == b[j].name)


# --- the longest common subsequence ---------------------------------------------------------------------------------


def matches(a: Sequence[int], b: Sequence[int], bonus: Callable[[int, int], int]) -> Matches:
    """Indices of a longest common subsequence; of several, the one with the highest sum of `bonus`, from 0 to 3.

    Lists that are long and differ much have one that is not the longest.
    """
    start, end = 0, 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    inner_a, inner_b = a[start : len(a) - end], b[start : len(b) - end]
    inside = _inside(inner_a, inner_b, lambda i, j: bonus(i + start, j + start))
    return [
        *((i, i) for i in range(start)),
        *((i + start, j + start) for i, j in inside),
        *((len(a) - n, len(b) - n) for n in range(end, 0, -1)),
    ]


def _inside(a: Sequence[int], b: Sequence[int], bonus: Callable[[int, int], int]) -> Matches:
    if len(a) * len(b) <= MAX_CELLS:
        return _best(a, b, bonus)
    common = (Counter(a) & Counter(b)).total()
    found = _myers(a, b) if len(a) + len(b) - 2 * common <= MAX_DIFFERENCES else None
    return found if found is not None else _piecewise(a, b, bonus)


def _best(a: Sequence[int], b: Sequence[int], bonus: Callable[[int, int], int]) -> Matches:
    """By filling the table of all beginnings, from the end."""
    one = 4 * (min(len(a), len(b)) + 1)  # a match outweighs all that can be said for others
    table = [[0] * (len(b) + 1)]
    for i in reversed(range(len(a))):
        below, row, item = table[-1], [0] * (len(b) + 1), a[i]
        for j in reversed(range(len(b))):
            best = below[j] if below[j] > row[j + 1] else row[j + 1]
            if item == b[j]:
                best = max(best, below[j + 1] + one + bonus(i, j))
            row[j] = best
        table.append(row)
    table.reverse()
    found, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j] and table[i][j] == table[i + 1][j + 1] + one + bonus(i, j):
            found.append((i, j))
            i, j = i + 1, j + 1
        elif table[i][j] == table[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _myers(a: Sequence[int], b: Sequence[int]) -> Matches | None:
    """By following the furthest paths; None where they differ too much. Source: Myers 1986, algorithm of figure 2.

    `furthest[k]` is how far into `a` the best path on diagonal k goes (a negative index counts from the end).
    """
    furthest = array("i", [0] * (2 * MAX_DIFFERENCES + 3))
    history: list[array[int]] = []
    for d in range(MAX_DIFFERENCES + 1):
        history.append(array("i", (furthest[k] for k in range(-d - 1, d + 2))))
        for k in range(-d, d + 1, 2):
            down = k == -d or (k != d and furthest[k - 1] < furthest[k + 1])
            x = furthest[k + 1] if down else furthest[k - 1] + 1
            while x < len(a) and x - k < len(b) and a[x] == b[x - k]:
                x += 1
            furthest[k] = x
            if x >= len(a) and x - k >= len(b):
                return _back(history, len(a), len(b))
    return None


def _back(history: Sequence[array[int]], x: int, y: int) -> Matches:
    """The matches on the path that ends at (x, y)."""
    found = []
    for d in reversed(range(len(history))):
        furthest, k, middle = history[d], x - y, d + 1
        down = k == -d or (k != d and furthest[middle + k - 1] < furthest[middle + k + 1])
        before = k + 1 if down else k - 1
        left = furthest[middle + before] if d else 0
        top = left - before if d else 0
        while x > left and y > top:
            x, y = x - 1, y - 1
            found.append((x, y))
        x, y = left, top
    return found[::-1]


def _piecewise(a: Sequence[int], b: Sequence[int], bonus: Callable[[int, int], int]) -> Matches:
    """By cutting both into as many pieces, each compared with its counterpart alone."""
    pieces = -(-max(len(a), len(b)) // PIECE)
    cuts = [(len(a) * n // pieces, len(b) * n // pieces) for n in range(pieces + 1)]

    def piece(low: tuple[int, int], high: tuple[int, int]) -> Matches:
        (i, j), (m, n) = low, high
        return [(i + p, j + q) for p, q in _best(a[i:m], b[j:n], lambda p, q: bonus(i + p, j + q))]

    return list(chain.from_iterable(piece(low, high) for low, high in pairwise(cuts)))
