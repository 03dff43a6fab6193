"""Where boxes and the lines between them lie: each block has a layout of its own, in which inner blocks are boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from ...graph import Graph
from ...shapes import Shape
from .. import svg
from .blocks import Block, Item, Opened, Stack, Uses, taken
from .labels import shape, short, title

ROW, SPACE, HEADER = 22.0, 14.0, 22.0
"""Heights of a layer in its box and of the header of an open block; the space around the boxes in it."""
LEAST = 150.0
MOST = 420.0
MOST_WIDER = 1.5
"""Least and most width of a box; how much wider a frame is made for what comes in to be in its middle."""
OPTIONS: Final = {
    "direction": "topbottom",
    "spacing": {
        "layer_gap": 26.0,
        "node_gap": 26.0,
        "dummy_gap": 18.0,
        "isolated_gap": 26.0,
        "reroute_node_gap": 22.0,
    },
    "routing": {"merge_edges": "both", "centre_ports": "all"},
    "coords": {"branch_style": "straight_main"},
}
Port = tuple[Literal["in", "out"], str | int]
"""A value that enters a block, by its name, or leaves it, by the number of its layer in a repetition."""
Kind = Literal["stack", "folded", "open", "input", "output", "port"]


@dataclass(frozen=True)
class Box:
    """A box with the middle of it within the frame around it; `inside` is the frame of an open block."""

    kind: Kind
    x: float
    y: float
    width: float
    height: float
    item: Item | None = None
    label: str = ""
    detail: str = ""
    inside: Frame | None = None
    port: Port | None = None
    """Of a port: which value passes there."""

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2


@dataclass(frozen=True)
class Edge:
    """A line from box to box by their numbers; `arrow` where a box, and not the inside of one, takes the value."""

    points: tuple[svg.Point, ...]
    source: int
    target: int
    arrow: bool


@dataclass(frozen=True)
class Frame:
    """Boxes and lines in a rectangle whose upper left corner is 0, 0."""

    width: float
    height: float
    boxes: tuple[Box, ...] = ()
    edges: tuple[Edge, ...] = ()
    ports: Mapping[Port, float] = field(default_factory=dict)
    """How far from its left a value crosses its upper or lower side."""


Link = tuple[int, int, Port | None, Port | None]
"""From a box, to a box, and by which ports where these are open blocks."""


class Layouts:
    """Frames of the blocks of a network."""

    def __init__(self, graph: Graph, opened: Opened) -> None:
        self.graph, self.opened = graph, opened
        self.uses = Uses(graph)

    def whole(self, block: Block) -> Frame:
        """Return the frame of the network, with its inputs and outputs."""
        before = {name: _pill("input", name, size) for name, size in self.graph.inputs.items() if self.uses.by[name]}
        boxes, links = self._inner(block, before)
        holder = _holder(boxes)
        for name, node in self.graph.outputs.items():
            if node in self.uses.places:
                boxes.append(_pill("output", name, self.graph.by_name[node].shape))
                source = holder[node]
                links.append((source, len(boxes) - 1, _out(boxes[source], node), None))
        return placed(boxes, links, (2, 2))

    def _inner(self, block: Block, before: Mapping[str, Box]) -> tuple[list[Box], list[Link]]:
        """Return the boxes of a block behind those of the values that come from outside, and their links."""
        boxes = [*before.values(), *(self.box(item) for item in block.items)]
        holder = _holder(boxes) | {name: i for i, name in enumerate(before)}
        links: dict[Link, None] = {}
        for target, item in enumerate(block.items, len(before)):
            for name in (name for node in item.nodes for name in taken(node)):
                source = holder.get(name, target)
                if source != target:
                    into: Port | None = ("in", name) if boxes[target].inside else None
                    links[source, target, _out(boxes[source], name), into] = None
        return boxes, list(links)

    def box(self, item: Item) -> Box:
        """Return the box of an item, without a place."""
        if isinstance(item, Stack):
            rows = [(title(node), shape(node.shape) if i == 0 else "") for i, node in enumerate(item.nodes)]
            width = max(
                svg.text_width(a, svg.SIZE) + svg.text_width(b, svg.SMALL) + (34 if b else 20) for a, b in rows
            )
            return Box("stack", 0, 0, min(MOST, max(LEAST, width)), ROW * len(rows), item)
        if self.opened(item):
            inside = self.inside(item)
            return Box("open", 0, 0, inside.width, inside.height, item, *header(item), inside)
        return folded(item)

    def inside(self, block: Block) -> Frame:
        """Return the frame of an open block, with a port for each value that comes in or goes out."""
        names = frozenset(node.name for node in block.first)
        outside = (name for node in block.first for name in taken(node) if name not in names)
        boxes, links = self._inner(block, {name: _port(("in", name)) for name in outside})
        holder = _holder(boxes)
        for node in block.first:
            if self.uses.beyond(node, names):
                source = holder[node.name]
                boxes.append(_port(("out", block.place(node.name))))
                links.append((source, len(boxes) - 1, _out(boxes[source], node.name), None))
        frame = placed(boxes, links, (HEADER - 4, 0), SPACE)
        label, _ = header(block)
        wide = svg.text_width(label, svg.SIZE, bold=True) + 2 * SPACE
        return widened(centred(frame), max(frame.width, min(MOST, wide)))


def folded(block: Block) -> Box:
    """Return the box of a folded block, without a place."""
    label, detail = header(block)
    width = max(svg.text_width(label, svg.SIZE, bold=True), svg.text_width(detail, svg.SMALL)) + 28
    return Box("folded", 0, 0, min(MOST, max(LEAST, width)), 2 * ROW - 4, block, label, detail)


def _holder(boxes: Sequence[Box]) -> dict[str, int]:
    """Return the number of the box of each layer."""
    return {node.name: i for i, box in enumerate(boxes) if box.item for node in box.item.nodes}


def _pill(kind: Kind, name: str, size: Shape) -> Box:
    width = svg.text_width(name, svg.SIZE, bold=True) + svg.text_width(shape(size), svg.SMALL) + 40
    return Box(kind, 0, 0, min(MOST, max(80, width)), ROW, label=name, detail=shape(size))


def _port(port: Port) -> Box:
    return Box("port", 0, 0, 1, 1, port=port)


def _out(box: Box, name: str) -> Port | None:
    """Return the port by which the value of a layer leaves a box, where that is an open block."""
    return ("out", box.item.place(name)) if box.inside and isinstance(box.item, Block) else None


def header(block: Block) -> tuple[str, str]:
    """Return the name of a block with how often it is repeated, and what it holds."""
    times = f"\u00d7{block.times}" if block.times > 1 else ""
    label = " ".join(part for part in (block.title, times) if part)
    layers = len(block.first)
    each, together = (" each", " together") if times else ("", "")
    detail = f"{layers} layer{'' if layers == 1 else 's'}{each}, {short(block.params)} parameters{together}"
    return label, f"{detail}, {shape(block.nodes[-1].shape)}"


def centred(frame: Frame) -> Frame:
    """Return a frame with room added on one side, so that its first value comes in in the middle."""
    first = next((x for (way, _), x in frame.ports.items() if way == "in"), frame.width / 2)
    width = 2 * max(first, frame.width - first)
    return widened(frame, width, width / 2 - first) if width <= MOST_WIDER * frame.width else frame


def widened(frame: Frame, width: float, by: float | None = None) -> Frame:
    """Return a frame with room added on the left, by itself as much as on the right; never narrower."""
    width = max(width, frame.width)
    by = (width - frame.width) / 2 if by is None else by
    return replace(
        frame,
        width=width,
        boxes=tuple(replace(box, x=box.x + by) for box in frame.boxes),
        edges=tuple(replace(edge, points=tuple((x + by, y) for x, y in edge.points)) for edge in frame.edges),
        ports={key: x + by for key, x in frame.ports.items()},
    )


def placed(boxes: Sequence[Box], links: Sequence[Link], ends: tuple[float, float], sides: float = 2) -> Frame:
    """Return boxes where graphlay puts them; `ends` are the spaces above and below, `sides` those beside them."""
    import graphlay

    graph, entered = graphlay.Graph(), {target for _, target, _, _ in links}
    for i, box in enumerate(boxes):
        last = box.kind == "output" or (box.kind == "port" and i in entered)
        rank = "last" if last else "first" if box.kind in ("input", "port") else "free"
        graph.node(i, width=box.width, height=box.height, rank=rank)
    for source, target, out, into in links:
        graph.edge(source, target, **_hints(boxes[source], boxes[target], out, into))
    found = graphlay.layout(graph, options=OPTIONS)
    low, high = found.bounds["min"], found.bounds["max"]
    left, top = sides - low["x"], ends[0] - low["y"]
    there = [
        replace(box, x=node["center"]["x"] + left, y=node["center"]["y"] + top)
        for box, node in zip(boxes, found.nodes, strict=True)
    ]
    height = high["y"] - low["y"] + sum(ends)
    edges = []
    for edge, (source, target, _, _) in zip(found.edges, links, strict=True):
        points = [(p["x"] + left, p["y"] + top) for p in edge["points"]]
        if boxes[source].kind == "port":
            points[:1] = [(there[source].x, 0), (there[source].x, points[0][1])]
        if boxes[target].kind == "port":
            points[-1:] = [(there[target].x, points[-1][1]), (there[target].x, height)]
        edges.append(Edge(tuple(points), source, target, boxes[target].kind not in ("port", "open")))
    ports = {box.port: box.x for box in there if box.port}
    return Frame(high["x"] - low["x"] + 2 * sides, height, tuple(there), tuple(edges), ports)


def _hints(source: Box, target: Box, out: Port | None, into: Port | None) -> dict[str, Any]:
    """Return where an edge leaves and enters open blocks; 0 is the middle of a side, and 1 its right end."""
    hints: dict[str, Any] = {}
    if source.inside and out:
        hints["source_port"] = {"offset": {"side": "bottom", "t": 2 * source.inside.ports[out] / source.width - 1}}
    if target.inside and into:
        hints["target_port"] = {"offset": {"side": "top", "t": 2 * target.inside.ports[into] / target.width - 1}}
    return hints
