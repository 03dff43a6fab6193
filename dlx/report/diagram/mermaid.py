"""The layered diagram as text of Mermaid, which repositories and wikis draw."""

from __future__ import annotations

from collections.abc import Iterator

from ...graph import Graph, Graphs, LayerNode
from .blocks import Block, Item, Opened, Stack, taken
from .folding import Folding, opened
from .labels import family, shape, title
from .layers import FILLS
from .layout import header


def text(graphs: Graphs, folding: Folding) -> str:
    """Return all networks of a spec as a flow chart of Mermaid, with a subgraph for each open block.

    Errors: DlxError where `folding` names blocks that are not there.
    """
    lines = ["flowchart TD"]
    for number, (name, (tree, is_open)) in enumerate(opened(graphs, folding).items()):
        one = _Network(graphs[name], is_open, "abcdefghijklmnopqrstuvwxyz"[number % 26] + str(number // 26 or ""))
        inner = [*one.boxes(tree), *one.edges(tree)]
        whole = f"subgraph {one.prefix}[{_quoted(name)}]"
        lines += [f"  {line}" for line in (inner if graphs.is_one else [whole, *(f"  {x}" for x in inner), "end"])]
    lines += [
        f"  classDef {name} fill:{fill},stroke:{stroke},color:#1c2429" for name, (fill, stroke) in FILLS.items()
    ]
    return "\n".join([*lines, ""])


class _Network:
    """One network: its boxes are called by a letter and a number."""

    def __init__(self, graph: Graph, is_open: Opened, prefix: str) -> None:
        self.graph, self.is_open, self.prefix = graph, is_open, prefix
        self.box_of: dict[str, str] = {}
        self.number = 0

    def _next(self) -> str:
        self.number += 1
        return f"{self.prefix}{self.number}"

    def boxes(self, tree: Block) -> Iterator[str]:
        for name, size in self.graph.inputs.items():
            self.box_of[name] = self._next()
            yield f"{self.box_of[name]}([{_quoted(f'{name} {shape(size)}')}])"
        for item in tree.items:
            yield from self._box(item)

    def _box(self, item: Item) -> Iterator[str]:
        key = self._next()
        if isinstance(item, Block) and self.is_open(item):
            yield f"subgraph {key}[{_quoted(header(item)[0])}]"
            for inner in item.items:
                yield from (f"  {line}" for line in self._box(inner))
            yield "end"
            self.box_of |= {node.name: self.box_of[item.first[item.place(node.name)].name] for node in item.nodes}
            return
        self.box_of |= {node.name: key for node in item.nodes}
        if isinstance(item, Stack):
            rows = [title(node) for node in item.nodes]
            rows[0] += f" \u2192 {shape(item.nodes[0].shape)}"
            yield f"{key}[{_quoted(*rows)}]:::{family(item.nodes[0])}"
        else:
            yield f"{key}[[{_quoted(*header(item))}]]"

    def edges(self, tree: Block) -> Iterator[str]:
        found: dict[tuple[str, str], None] = {}
        for node in _shown(tree, self.is_open):
            for name in taken(node):
                found[self.box_of[name], self.box_of[node.name]] = None
        yield from (f"{a} --> {b}" for a, b in found if a != b)
        for name, giver in self.graph.outputs.items():
            key = self._next()
            yield f"{key}([{_quoted(f'{name} {shape(self.graph.output_shape(name))}')}])"
            yield f"{self.box_of[giver]} --> {key}"


def _shown(item: Item, is_open: Opened) -> Iterator[LayerNode]:
    """Yield the layers of the first repetition of each open block, and all of the others."""
    if isinstance(item, Stack) or not is_open(item):
        yield from item.nodes
        return
    for inner in item.items:
        yield from _shown(inner, is_open)


def _quoted(*rows: str) -> str:
    """Return rows of a label in quotes, without what Mermaid or HTML would take for its own."""
    return '"' + "<br>".join("".join(_entity(c) for c in row) for row in rows) + '"'


def _entity(letter: str) -> str:
    plain = letter.isalnum() or letter in " ,./_-:+()\u00d7\u2192"
    return letter if plain else f"#{ord(letter)};"
