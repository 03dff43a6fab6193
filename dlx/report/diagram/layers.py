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
from .layout import ROW, SIZE, SMALL, Box, Frame, Layouts

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
        f".w{{fill:{PAPER}}}text{{font-size:{SIZE:.0f}px;fill:{INK}}}.s{{font-size:{SMALL:.0f}px;fill:{FAINT}}}"
        f".b{{font-weight:bold}}.k{{paint-order:stroke;stroke:{GROUND};stroke-width:4px}}.h{{font-size:15px;font-weight:bold}}"
        f".e{{fill:none;stroke:{LINE};stroke-width:1.3}}.p{{fill:{PAPER};stroke:{INK};stroke-width:1.3}}"
        f".f{{fill:{PAPER};stroke:{LINE};stroke-width:1.2}}.o{{fill:{GROUND};stroke:#b9c3ca;stroke-width:1}}"
        f".a{{fill:{LINE}}}{boxes}"
    )


def picture(graphs: Graphs, folding: Folding) -> svg.Picture:
    """Return the layered diagram of all networks of a spec.

    Errors: DlxError where `folding` names blocks that are not there.
    """
    content, x, height = list[str](), MARGIN, 0.0
    for name, (tree, is_open) in opened(graphs, folding).items():
        graph = graphs[name]
        frame = Layouts(graph, is_open).whole(tree)
        label = graphs.name if graphs.is_one else name
        about = f"{short(graph.params)} parameters, {short(graph.macs)} MACs a sample"
        content += [svg.text(x, MARGIN + 12, label, "h"), svg.text(x, MARGIN + 29, about, "s")]
        wide = max(frame.width, svg.text_width(label, 15, bold=True), svg.text_width(about, SMALL))
        content += _moved(x + (wide - frame.width) / 2, MARGIN + TITLE, drawn(frame))
        x, height = x + wide + BETWEEN, max(height, frame.height)
    return svg.picture(
        x - BETWEEN + MARGIN, height + 2 * MARGIN + TITLE, graphs.name, described(graphs), style(), content
    )


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


def drawn(frame: Frame) -> Iterator[str]:
    """Yield what is in a frame: open blocks, then lines, then boxes."""
    for box in frame.boxes:
        if box.inside:
            yield from _open(box, box.inside)
    for edge in frame.edges:
        yield f'<path class="e" d="{svg.line(edge.points)}"/>'
        if edge.arrow:
            yield _arrow(edge.points[-1])
    for box in frame.boxes:
        yield from _closed(box)


def _arrow(tip: svg.Point) -> str:
    x, y = tip
    return f'<path class="a" d="M{svg.number(x)} {svg.number(y)}l-3.5 -7h7z"/>'


def _open(box: Box, inside: Frame) -> Iterator[str]:
    yield from _moved(box.left, box.top, _open_inside(box, inside))


def _open_inside(box: Box, inside: Frame) -> Iterator[str]:
    yield svg.rect(0, 0, box.width, box.height, "o", 8)
    yield from drawn(inside)
    label = svg.cut(box.label, box.width - 16, SIZE, bold=True)
    taken = svg.text_width(label, SIZE, bold=True) + 14
    left = all(x > taken for port, x in inside.ports.items() if port[0] == "in")
    yield svg.text(8 if left else box.width - 8, 15, label, "b k", "start" if left else "end")


def _closed(box: Box) -> Iterator[str]:
    if box.kind in ("input", "output"):
        yield svg.rect(box.left, box.top, box.width, box.height, "p", ROW / 2)
        both = svg.text_width(box.label, SIZE, bold=True) + 8 + svg.text_width(box.detail, SMALL)
        yield svg.text(box.x - both / 2, box.y + 4, box.label, "b")
        yield svg.text(box.x + both / 2, box.y + 4, box.detail, "s", "end")
    elif box.kind == "folded":
        for back in (6, 3) if isinstance(box.item, Block) and box.item.times > 1 else ():
            yield svg.rect(box.left + back, box.top - back, box.width, box.height, "f", 5)
        yield svg.rect(box.left, box.top, box.width, box.height, "f", 5)
        yield svg.text(box.x, box.top + 17, svg.cut(box.label, box.width - 12, SIZE, bold=True), "b", "middle")
        yield svg.text(box.x, box.top + 32, svg.cut(box.detail, box.width - 12, SMALL), "s", "middle")
    elif isinstance(box.item, Stack):
        for i, node in enumerate(box.item.nodes):
            yield from _row(box, node, i)


def _row(box: Box, node: LayerNode, i: int) -> Iterator[str]:
    top = box.top + i * ROW
    yield f"<g><title>{svg.quoted(facts(node))}</title>"
    yield svg.rect(box.left, top, box.width, ROW, family(node), 3)
    size = shape(node.shape) if i == 0 else ""
    room = box.width - 18 - (svg.text_width(size, SMALL) + 10 if size else 0)
    yield svg.text(box.left + 9, top + 15, svg.cut(title(node), room, SIZE))
    if size:
        yield svg.text(box.left + box.width - 9, top + 15, size, "s", "end")
    yield "</g>"


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
