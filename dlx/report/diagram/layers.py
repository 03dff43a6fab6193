"""The layered diagram as SVG: boxes with a row for each layer, blocks open or folded, networks side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...errors import plural
from ...graph import Graphs, LayerNode
from .. import svg
from .blocks import Block, Stack
from .folding import Folding, opened
from .labels import family, shape, short, title
from .layout import ROW, Box, Frame, Layouts

MARGIN, BETWEEN, TITLE = 20.0, 50.0, 44.0
"""The space around a picture and between two networks; the height of their titles."""
FILLS: Final = {
    "conv": ("#dbe8f6", "#3d74ab"),
    "linear": ("#e6e0f4", "#6f58a6"),
    "pool": ("#fce5cb", "#bf7221"),
    "norm": ("#e9eef1", "#7b8f99"),
    "activation": ("#fbe4e2", "#bd5650"),
    "dropout": ("#f3f3f1", "#98978f"),
    "recurrent": ("#d9f0e2", "#318a5b"),
    "attention": ("#fdf0c4", "#ad8410"),
    "embedding": ("#f6e0ef", "#a04d8c"),
    "merge": ("#ffffff", "#4a545c"),
    "reshape": ("#f4f4ef", "#8a8a7c"),
    "other": ("#eef3e2", "#75883a"),
}
"""Colour of the box and of its border, by family."""
INK, FAINT, LINE, PAPER, GROUND = "#1c2429", "#5f6b73", "#55626b", "#ffffff", "#f6f8f9"


def style() -> str:
    """Return the style sheet of a picture on white."""
    boxes = "".join(f".{name}{{fill:{fill};stroke:{stroke}}}" for name, (fill, stroke) in FILLS.items())
    return (
        f".w{{fill:{PAPER}}}text{{font-size:{svg.SIZE:.0f}px;fill:{INK}}}.s{{font-size:{svg.SMALL:.0f}px;fill:{FAINT}}}"
        f".b{{font-weight:bold}}.k{{paint-order:stroke;stroke:{GROUND};stroke-width:4px}}.h{{font-size:15px;font-weight:bold}}"
        f".e{{fill:none;stroke:{LINE};stroke-width:1.3}}.p{{fill:{PAPER};stroke:{INK};stroke-width:1.3}}"
        f".f{{fill:{PAPER};stroke:{LINE};stroke-width:1.2}}.o{{fill:{GROUND};stroke:#b9c3ca;stroke-width:1}}"
        f".a{{fill:{LINE}}}.d{{fill:#000;fill-opacity:.08}}{boxes}"
    )


def picture(graphs: Graphs, folding: Folding) -> svg.Picture:
    """Return the layered diagram of all networks of a spec.

    Errors: DlxError where `folding` names blocks that are not there.
    """
    content, x, height = list[str](), MARGIN, 0.0
    for name, (tree, is_open) in opened(graphs, folding).items():
        frame = Layouts(graphs[name], is_open).whole(tree)
        head, least = heading(graphs, name, x, MARGIN)
        wide = max(frame.width, least)
        content += [*head, *_moved(x + (wide - frame.width) / 2, MARGIN + TITLE, parts(frame))]
        x, height = x + wide + BETWEEN, max(height, frame.height)
    return svg.picture(
        x - BETWEEN + MARGIN, height + 2 * MARGIN + TITLE, graphs.name, described(graphs), style(), content
    )


def heading(graphs: Graphs, name: str, x: float, y: float) -> tuple[list[str], float]:
    """Return the title of a network with its totals, and their width."""
    graph, label = graphs[name], graphs.name if graphs.is_one else name
    about = f"{short(graph.params)} parameters, {short(graph.macs)} MACs a sample"
    wide = max(svg.text_width(label, 15, bold=True), svg.text_width(about, svg.SMALL))
    return [svg.text(x, y + 12, label, "h"), svg.text(x, y + 29, about, "s")], wide


def described(graphs: Graphs) -> str:
    """Return the diagram in a sentence for each network."""
    return " ".join(
        f"{graphs.name if graphs.is_one else name}: {plural(len(graph.nodes), 'layer')}, "
        f"from {', '.join(f'{one} {shape(size)}' for one, size in graph.inputs.items())} "
        f"to {', '.join(f'{one} {shape(graph.output_shape(one))}' for one in graph.outputs)}, "
        f"{plural(graph.params, 'parameter')}."
        for name, graph in graphs.items()
    )


def _moved(x: float, y: float, content: Iterator[str]) -> list[str]:
    return [f'<g transform="translate({svg.number(x)} {svg.number(y)})">', *content, "</g>"]


def parts(frame: Frame) -> Iterator[str]:
    """Yield what is in a frame: open blocks, then lines, then boxes."""
    for box in frame.boxes:
        if box.inside:
            yield from _open(box, box.inside)
    for edge in frame.edges:
        yield f'<path class="e" d="{svg.line(edge.points)}"/>'
        if edge.arrow:
            yield arrow(edge.points[-1])
    for box in frame.boxes:
        yield from _closed(box)


TURNS: Final = {"down": "l-3.5 -7h7z", "up": "l-3.5 7h7z", "right": "l-7 -3.5v7z", "left": "l7 -3.5v7z"}


def arrow(tip: svg.Point, way: str = "down") -> str:
    """Return the head of an arrow that points down, up, right or left."""
    return f'<path class="a" d="M{svg.number(tip[0])} {svg.number(tip[1])}{TURNS[way]}"/>'


def _open(box: Box, inside: Frame) -> Iterator[str]:
    yield from _moved(box.left, box.top, _open_inside(box, inside))


def _open_inside(box: Box, inside: Frame) -> Iterator[str]:
    yield svg.rect(0, 0, box.width, box.height, "o", 8)
    yield from parts(inside)
    label = svg.cut(box.label, box.width - 16, svg.SIZE, bold=True)
    taken = svg.text_width(label, svg.SIZE, bold=True) + 14
    left = all(x > taken for port, x in inside.ports.items() if port[0] == "in")
    yield svg.text(8 if left else box.width - 8, 15, label, "b k", "start" if left else "end")


def _closed(box: Box) -> Iterator[str]:
    if box.kind in ("input", "output"):
        yield from _moved(box.left, box.top, pill(box))
    elif box.kind == "folded":
        yield from _moved(box.left, box.top, _folded(box))
    elif isinstance(box.item, Stack):
        for i, node in enumerate(box.item.nodes):
            yield f'<g transform="translate({svg.number(box.left)} {svg.number(box.top)})">'
            yield f"<title>{svg.quoted(facts(node))}</title>"
            yield from row(box.width, node, i)
            yield "</g>"


def pill(box: Box) -> Iterator[str]:
    """Yield an input or an output."""
    yield svg.rect(0, 0, box.width, box.height, "p", ROW / 2)
    both = svg.text_width(box.label, svg.SIZE, bold=True) + 8 + svg.text_width(box.detail, svg.SMALL)
    left = (box.width - both) / 2
    yield svg.text(left, ROW / 2 + 4, box.label, "b")
    yield svg.text(left + both, ROW / 2 + 4, box.detail, "s", "end")


def _folded(box: Box) -> Iterator[str]:
    for back in (6, 3) if isinstance(box.item, Block) and box.item.times > 1 else ():
        yield svg.rect(back, back, box.width, box.height, "f", 5)
    yield svg.rect(0, 0, box.width, box.height, "f", 5)
    yield svg.text(box.width / 2, 17, svg.cut(box.label, box.width - 12, svg.SIZE, bold=True), "b", "middle")
    yield svg.text(box.width / 2, 32, svg.cut(box.detail, box.width - 12, svg.SMALL), "s", "middle")


def row(width: float, node: LayerNode, i: int) -> Iterator[str]:
    """Yield the row of a layer in its box, the first with its shape."""
    top = i * ROW
    yield svg.rect(0, top, width, ROW, family(node), 3)
    size = shape(node.shape) if i == 0 else ""
    room = width - 18 - (svg.text_width(size, svg.SMALL) + 10 if size else 0)
    yield svg.text(9, top + 15, svg.cut(title(node), room, svg.SIZE))
    if size:
        yield svg.text(width - 9, top + 15, size, "s", "end")


def facts(node: LayerNode) -> str:
    """Return what is known of a layer, a line each."""
    lines = [
        f"{node.name}: {node.kind}",
        f"output {shape(node.shape)}",
        f"{node.params:,} parameters" if node.params else "",
        f"{node.plan.macs:,} MACs" if node.plan.macs else "",
        f"receptive field {node.receptive_field_text}" if node.receptive_field_text else "",
    ]
    return "\n".join(part for part in lines if part)
