"""A recurrent network unrolled: a column for each step, states from left to right, inputs below and outputs above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...graph import Graph, Graphs, LayerNode
from .. import svg
from .blocks import taken
from .labels import family, keeps_shape, shape, title
from .layers import MARGIN, TITLE, arrow, described, heading, style

ALL_STEPS: Final = 5
"""Longer sequences are drawn as their first two steps and the last."""
WIDTH, HEIGHT, ACROSS, UP = 86.0, 34.0, 38.0, 26.0
"""Of a cell, and the gaps between two of them."""


@dataclass(frozen=True)
class Row:
    """A layer at each step, or once behind the last; `states` are the ways in which states go."""

    node: LayerNode
    words: str
    each: bool
    states: tuple[str, ...] = ()


def is_unrolled(graph: Graph) -> bool:
    """Whether a network is a chain of layers along a sequence, of which one is recurrent."""
    (*others, _), name = list(graph.inputs.items()), next(iter(graph.inputs))
    chained = all(
        taken(node) == (before,)
        for before, node in zip([name, *(node.name for node in graph.nodes)], graph.nodes, strict=False)
    )
    families = [family(node) for node in graph.nodes]
    return not others and chained and "recurrent" in families and "conv" not in families and _steps(graph) > 0


def _steps(graph: Graph) -> int:
    """The length of the sequence; 0 where the recurrent layers see none, or one on another axis."""
    lengths = {
        node.arriving[0][0] for node in graph.nodes if family(node) == "recurrent" and len(node.arriving[0]) == 2
    }
    return lengths.pop() if len(lengths) == 1 else 0


def network(graph: Graph) -> tuple[list[str], tuple[float, float]]:
    """Return an unrolled network, and its width and height."""
    steps, rows = _steps(graph), _rows(graph)
    columns = list(range(1, steps + 1)) if steps <= ALL_STEPS else [1, 2, 0, steps]
    left = max(svg.text_width(words, svg.SIZE) for words in (*(row.words for row in rows), *graph.inputs)) + 24
    bottom = (len(rows) + 1) * (HEIGHT + UP)
    xs = [left + i * (WIDTH + ACROSS) for i in range(len(columns))]
    content = [*_inputs(graph, columns, xs, bottom)]
    for i, row in enumerate(rows):
        y = bottom - (i + 1) * (HEIGHT + UP)
        content += _row(row, columns, xs, y, rows[i - 1].each if i else True)
    last = rows[-1]
    ends = [x for x, column in zip(xs, columns, strict=True) if column] if last.each else xs[-1:]
    top = bottom - len(rows) * (HEIGHT + UP)
    for x in ends:
        content += _up(x, top, top - UP)
    return content, (xs[-1] + WIDTH, bottom + HEIGHT)


def _rows(graph: Graph) -> list[Row]:
    """Return the layers from the input on; of a recurrent one with several layers a row for each."""
    steps, rows = _steps(graph), list[Row]()
    for node in graph.nodes:
        options = node.layer.options()
        if family(node) == "recurrent":
            states = ("right", "left") if options.get("bidirectional") else ("right",)
            depth = int(options.get("num_layers") or 1)
            last = "" if depth == 1 else f", layer {depth}"
            rows += [Row(node, f"{title(node)}, layer {i + 1}", True, states) for i in range(depth - 1)]
            rows.append(Row(node, f"{title(node)}{last}", True, states))
        elif not keeps_shape(node) and family(node) != "reshape":
            rows.append(Row(node, title(node), len(node.shape) == 2 and node.shape[0] == steps))
    return rows


def _label(words: str, size: str, y: float) -> Iterator[str]:
    """Yield what stands before a row: the layer, and its output below."""
    yield svg.text(0, y + HEIGHT / 2 - 2, words)
    yield svg.text(0, y + HEIGHT / 2 + 13, size, "s")


def _inputs(graph: Graph, columns: Sequence[int], xs: Sequence[float], y: float) -> Iterator[str]:
    ((name, size),) = graph.inputs.items()
    yield from _label(name, shape(size), y)
    for x, column in zip(xs, columns, strict=True):
        if column:
            yield svg.rect(x, y, WIDTH, HEIGHT, "p", HEIGHT / 2)
            yield svg.text(x + WIDTH / 2, y + HEIGHT / 2 + 4, f"step {column:,}", "", "middle")


def _row(row: Row, columns: Sequence[int], xs: Sequence[float], y: float, fed_by_each: bool) -> Iterator[str]:
    yield from _label(row.words, shape(row.node.shape), y)
    middle, below = y + HEIGHT / 2, y + HEIGHT + UP
    for i, (x, column) in enumerate(zip(xs, columns, strict=True)):
        if i and row.states:
            yield from _states(row, x - ACROSS, middle)
        if not column:
            if row.each:
                yield svg.text(x + WIDTH / 2, middle + 4, "\u2026", "b", "middle")
            continue
        if not row.each and i < len(columns) - 1:
            continue
        yield svg.rect(x, y, WIDTH, HEIGHT, family(row.node), 4)
        words = svg.cut(row.node.kind.replace("_", " "), WIDTH - 8, svg.SIZE)
        yield svg.text(x + WIDTH / 2, middle + 4, words, "", "middle")
        if fed_by_each or not row.each:
            yield from _up(x, below, y + HEIGHT)


def _states(row: Row, x: float, y: float) -> Iterator[str]:
    """Yield the arrows of states across the gap before a cell."""
    apart = 6 if len(row.states) > 1 else 0
    for way in row.states:
        at = y - apart if way == "right" else y + apart
        tip = x + ACROSS if way == "right" else x
        yield f'<path class="e" d="M{svg.number(x)} {svg.number(at)}h{svg.number(ACROSS)}"/>'
        yield arrow((tip, at), way)


def _up(x: float, y: float, tip: float) -> Iterator[str]:
    middle = x + WIDTH / 2
    yield f'<path class="e" d="M{svg.number(middle)} {svg.number(y)}V{svg.number(tip)}"/>'
    yield arrow((middle, tip), "up")


def picture(graphs: Graphs) -> svg.Picture:
    """Return the unrolled networks of a spec, one below the other."""
    content, y, width = list[str](), MARGIN, 0.0
    for name, graph in graphs.items():
        head, wide = heading(graphs, name, MARGIN, y)
        part, size = network(graph)
        moved = f'<g transform="translate({svg.number(MARGIN)} {svg.number(y + TITLE)})">'
        content += [*head, moved, *part, "</g>"]
        y, width = y + TITLE + size[1] + MARGIN, max(width, size[0], wide)
    return svg.picture(width + 2 * MARGIN, y, graphs.name, described(graphs), style(), content)
