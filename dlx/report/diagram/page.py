"""The diagram as a piece of a page: blocks fold by mouse and keyboard, a layer shows what is known of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from ...graph import Graph, Graphs, LayerNode
from .. import svg
from .blocks import Block, Item, blocks
from .folding import level_of
from .labels import short
from .layers import FILLS, arrow, described, facts, pill, row
from .layout import Box, Frame, Layouts, folded, widened
from .receptive_field import centre

DARK = {
    "conv": ("#1d3246", "#6ea5da"),
    "linear": ("#2c2543", "#a792dd"),
    "pool": ("#41301b", "#dd9a52"),
    "norm": ("#263036", "#93a6b0"),
    "activation": ("#432625", "#de8681"),
    "dropout": ("#2c2d2b", "#9a9991"),
    "recurrent": ("#1b3a2a", "#5fbd8c"),
    "attention": ("#3d3414", "#d3ab3c"),
    "embedding": ("#402337", "#d083bd"),
    "merge": ("#22282c", "#aab5bc"),
    "reshape": ("#2c2d29", "#a5a598"),
    "other": ("#2d3520", "#a3b865"),
}


def diagram_html(graphs: Graphs) -> str:
    """Return the diagram of all networks of a spec as a piece of HTML with its own style and script.

    It asks for nothing outside. Colours follow the system's or `data-theme="dark"` of an element around it. Without
    scripts all blocks are folded.
    """
    networks = "".join(_network(graphs, name) for name in graphs)
    return (
        f'<div class="dlx-diagram" role="group" aria-label="{svg.quoted(described(graphs))}">'
        f"<style>{_style()}</style>"
        '<div class="bar"><button type="button" data-all="open">Unfold all</button>'
        '<button type="button" data-all="">Fold all</button></div>'
        f'<div class="nets">{networks}</div><div class="facts" aria-live="polite"></div>'
        f"<script>{_script()}</script></div>"
    )


def _network(graphs: Graphs, name: str) -> str:
    graph = graphs[name]
    tree = blocks(graph)
    frame = Foldable(graph, lambda _: True).whole(tree)
    label = graphs.name if graphs.is_one else name
    about = f"{short(graph.params)} parameters, {short(graph.macs)} MACs a sample"
    content = "".join(_frame(frame, graph, level_of(tree)))
    size = f'width="{svg.number(frame.width + 4)}" height="{svg.number(frame.height)}"'
    return (
        f"<figure><figcaption><b>{svg.quoted(label)}</b> {about}</figcaption>"
        f'<svg {size} font-family="{svg.quoted(svg.FONT)}" role="list">{content}</svg></figure>'
    )


class Foldable(Layouts):
    """Frames in which each block has the width of its inside and the height of a folded one."""

    def box(self, item: Item) -> Box:
        if not isinstance(item, Block):
            return super().box(item)
        closed, inside = folded(item), self.inside(item)
        width = max(closed.width, inside.width)
        return Box("folded", 0, 0, width, closed.height, item, closed.label, closed.detail, widened(inside, width))


def _frame(frame: Frame, graph: Graph, level: int) -> Iterator[str]:
    """Yield a frame as a group, with its rows for the script; blocks above `level` are opened by it."""
    yield f'<g class="frame" data-height="{svg.number(frame.height)}" data-rows="{_json(rows(frame))}">'
    for edge in frame.edges:
        points = " ".join(f"{svg.number(x)},{svg.number(y)}" for x, y in edge.points)
        ends = f'data-s="{edge.source}" data-t="{edge.target}"'
        yield f'<path class="e" d="{svg.line(edge.points)}" data-p="{points}" {ends}/>'
        yield arrow(edge.points[-1]) if edge.arrow else '<path class="a"/>'
    for box in frame.boxes:
        at = f'transform="translate({svg.number(box.left)} {svg.number(box.top)})"'
        yield f'<g class="box" data-x="{svg.number(box.left)}" data-h="{svg.number(box.height)}" {at}>'
        yield from _box(box, graph, level)
        yield "</g>"
    yield "</g>"


def rows(frame: Frame) -> list[tuple[float, float, list[int]]]:
    """Return the boxes that lie side by side: the top and the height of each row, and the numbers of its boxes."""
    found: list[tuple[float, float, list[int]]] = []
    for i, box in sorted(enumerate(frame.boxes), key=lambda pair: (pair[1].top, pair[0])):
        bottom = found[-1][0] + found[-1][1] if found else -1.0
        if found and box.top < bottom - 0.5:
            top, _, others = found[-1]
            found[-1] = (top, max(bottom, box.top + box.height) - top, [*others, i])
        else:
            found.append((round(box.top, 1), round(box.height, 1), [i]))
    return found


def _json(value: Any) -> str:
    return svg.quoted(json.dumps(value, separators=(",", ":")))


def _box(box: Box, graph: Graph, level: int) -> Iterator[str]:
    if box.kind in ("input", "output"):
        yield from pill(box)
    elif box.inside and isinstance(box.item, Block):
        wide, about = svg.number(box.width), svg.quoted(f"{box.label or 'layers'}: {box.detail}")
        opens = ' data-open="1"' if level > 0 else ""
        yield f'<g class="stop fold" role="button" tabindex="-1" aria-expanded="false" aria-label="{about}"{opens}>'
        yield f"<title>{about}</title>"
        yield f'<rect class="f" width="{wide}" height="{svg.number(box.height)}" rx="6"/>'
        yield '<path class="a mark" d="M9 7l8 5l-8 5z"/>'
        yield svg.text(22, 16, svg.cut(box.label, box.width - 28, svg.SIZE, bold=True), "b")
        yield svg.text(22, 31, svg.cut(box.detail, box.width - 28, svg.SMALL), "s detail") + "</g>"
        yield from _frame(box.inside, graph, level - 1)
    elif box.item:
        for i, node in enumerate(box.item.nodes):
            about = f'aria-label="{svg.quoted(facts(node))}"{_field(node, graph)}'
            yield f'<g class="stop layer" role="listitem" tabindex="-1" {about}>'
            yield "".join(row(box.width, node, i)) + "</g>"


def _field(node: LayerNode, graph: Graph) -> str:
    """Return what a layer sees of a picture, for the script."""
    found = centre(node, graph)
    return f' data-field="{_json(found)}"' if found else ""


def _style() -> str:
    light = "".join(f"--{name}:{fill};--{name}-line:{line};" for name, (fill, line) in FILLS.items())
    dark = "".join(f"--{name}:{fill};--{name}-line:{line};" for name, (fill, line) in DARK.items())
    light += "--ink:#1c2429;--faint:#5f6b73;--line:#55626b;--paper:#fff;"
    light += "--ground:#f6f8f9;--edge:#b9c3ca;--mark:#0b6bcb"
    dark += "--ink:#e6ebee;--faint:#9caab3;--line:#93a1aa;--paper:#171b1e;"
    dark += "--ground:#1e2428;--edge:#46525a;--mark:#6cb6ff"
    boxes = "".join(f".dlx-diagram .{name}{{fill:var(--{name});stroke:var(--{name}-line)}}" for name in FILLS)
    return (
        f".dlx-diagram{{{light};color:var(--ink);font:{svg.SIZE:.0f}px/1.5 {svg.FONT}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]) .dlx-diagram{{{dark}}}}}"
        f"[data-theme=dark] .dlx-diagram{{{dark}}}{boxes}{_asset('page.css')}"
    )


def _script() -> str:
    return _asset("page.js")


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
