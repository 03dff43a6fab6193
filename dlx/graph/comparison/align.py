"""Alignment of two lists of nodes by kind and options, not by name: an inserted layer renumbers those after it.

Whole scopes are matched first; the nodes between them are matched by equal kinds and options, then by equal kinds,
then by the base name of the scope. Scopes of different base names replace each other as a whole.
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
"""Largest table of pairs that is filled in full; longer lists are compared by Myers' algorithm, without ties."""
MAX_DIFFERENCES = 1_500
"""Largest edit distance of two long lists; beyond it they are compared piece by piece."""
PIECE = 128


@dataclass(frozen=True, slots=True)
class _Item:
    """A layer, or a scope with all its nodes."""

    name: str
    """The name of the layer or scope, without the scopes around it."""
    nodes: tuple[LayerNode, ...]
    depth: int
    """The number of scopes around it."""
    is_scope: bool


def align_nodes(a: Sequence[LayerNode], b: Sequence[LayerNode]) -> list[Pair]:
    """Return the pairs of nodes of `a` and `b`, in order; a node without a counterpart is paired with None."""
    return list(_Aligner().pairs(_items(a, 0), _items(b, 0)))


def _items(nodes: Sequence[LayerNode], depth: int) -> list[_Item]:
    """Group nodes with the same first `depth` scopes into the layers and scopes of the next level."""

    def place(node: LayerNode) -> tuple[str, bool]:
        parts = node.name.split("/", depth + 1)
        return (parts[depth], len(parts) > depth + 1)

    return [_Item(name, tuple(run), depth, is_scope) for (name, is_scope), run in groupby(nodes, place)]


class _Aligner:
    """Aligns items level by level; an item has a number at each level, and equal numbers match."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}
        self.by_layer: dict[int, int] = {}
        self.levels: list[Callable[[_Item], Hashable]] = [self.exact, self.kinds, self.base_name]

    def number(self, key: Hashable) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def token(self, node: LayerNode) -> int:
        """Return the number of a layer's kind and options."""
        if id(node.layer) not in self.by_layer:
            self.by_layer[id(node.layer)] = self.number((node.kind, repr(node.layer.options())))
        return self.by_layer[id(node.layer)]

    def exact(self, item: _Item) -> Hashable:
        return (item.is_scope, *map(self.token, item.nodes))

    def kinds(self, item: _Item) -> Hashable:
        return (item.is_scope, *(node.kind for node in item.nodes))

    def base_name(self, item: _Item) -> Hashable:
        """Return the block of a scope (`bottleneck` of `bottleneck_3`), or the kind of a layer."""
        return (item.is_scope, re.sub(r"_\d+$", "", item.name) if item.is_scope else item.nodes[0].kind)

    def pairs(self, a: Sequence[_Item], b: Sequence[_Item], level: int = 0) -> Iterator[Pair]:
        """Yield all nodes of `a` and `b`, paired where they match at `level` or a later one."""
        if not a or not b:
            yield from _unpaired(a, b)
        elif level == len(self.levels):
            yield from self.unmatched(a, b)
        else:
            key = self.levels[level]
            i = j = 0
            for m, n in matches(
                [self.number(key(x)) for x in a], [self.number(key(y)) for y in b], tie_breaker(a, b)
            ):
                yield from self.pairs(a[i:m], b[j:n], level + 1)
                yield from self.matched(a[m], b[n], level)
                i, j = m + 1, n + 1
            yield from self.pairs(a[i:], b[j:], level + 1)

    def matched(self, x: _Item, y: _Item, level: int) -> Iterator[Pair]:
        if x.is_scope and level:
            yield from self.pairs(_items(x.nodes, x.depth + 1), _items(y.nodes, y.depth + 1))
        else:
            yield from zip(x.nodes, y.nodes, strict=True)

    def unmatched(self, a: Sequence[_Item], b: Sequence[_Item]) -> Iterator[Pair]:
        """Pair items that match at no level: layers with the insides of scopes, and layers of the same families."""
        scopes = [any(item.is_scope for item in items) for items in (a, b)]
        if scopes[0] != scopes[1]:
            yield from self.pairs(_layers(a), _layers(b))
        elif not any(scopes) and [_family(x) for x in a] == [_family(y) for y in b]:
            yield from zip((x.nodes[0] for x in a), (y.nodes[0] for y in b), strict=True)
        else:
            yield from _unpaired(a, b)


def _unpaired(a: Sequence[_Item], b: Sequence[_Item]) -> Iterator[Pair]:
    yield from ((node, None) for item in a for node in item.nodes)
    yield from ((None, node) for item in b for node in item.nodes)


def _layers(items: Sequence[_Item]) -> list[_Item]:
    return [_Item(node.name, (node,), 0, is_scope=False) for item in items for node in item.nodes]


def _family(item: _Item) -> str:
    """Return the family of a layer, from the module that declares it: activations, pools, norms."""
    return type(item.nodes[0].layer).__module__.rsplit(".", 1)[-1].split("_")[0]


def tie_breaker(a: Sequence[_Item], b: Sequence[_Item]) -> Callable[[int, int], int]:
    """Return a score from 0 to 3 for two items that match: equal input shapes count 2, equal names 1."""
    return lambda i, j: 2 * (a[i].nodes[0].arriving == b[j].nodes[0].arriving) + (a[i].name == b[j].name)


# --- the longest common subsequence ---------------------------------------------------------------------------------


def matches(a: Sequence[int], b: Sequence[int], bonus: Callable[[int, int], int]) -> Matches:
    """Return indices of a longest common subsequence; of several, that with the highest sum of `bonus` (0 to 3).

    For long lists that differ much the subsequence is a common one, not a longest.
    """
    # Equal ends are matched first: most changes to a spec are in few places, and the rest is quadratic
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
    """Find the best subsequence by dynamic programming over all pairs of suffixes."""
    one = 4 * (min(len(a), len(b)) + 1)  # a match outweighs the sum of all bonuses
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
    """Find a longest subsequence by Myers' furthest-reaching paths; None beyond MAX_DIFFERENCES.

    `furthest[k]` is the furthest index of `a` on diagonal k (a negative k indexes from the end of the array).
    Source: Myers 1986, An O(ND) Difference Algorithm and Its Variations, figure 2.
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
                return _backtrack(history, len(a), len(b))
    return None


def _backtrack(history: Sequence[array[int]], x: int, y: int) -> Matches:
    """Return the matches on the path that ends at (x, y)."""
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
    """Compare piece by piece: both lists are cut into the same number of pieces."""
    pieces = -(-max(len(a), len(b)) // PIECE)
    cuts = [(len(a) * n // pieces, len(b) * n // pieces) for n in range(pieces + 1)]

    def piece(low: tuple[int, int], high: tuple[int, int]) -> Matches:
        (i, j), (m, n) = low, high
        return [(i + p, j + q) for p, q in _best(a[i:m], b[j:n], lambda p, q: bonus(i + p, j + q))]

    return list(chain.from_iterable(piece(low, high) for low, high in pairwise(cuts)))
