"""The figure of papers for convolutional networks: volumes with sides by positions and thickness by channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from ...errors import DlxError
from ...graph import Graph, Graphs
from ...shapes import Shape
from .. import svg
from .blocks import Block, Item, Opened, Stack, taken
from .folding import Folding, opened
from .labels import by, family, shape, title
from .layers import FILLS, MARGIN, TITLE, arrow, described, heading, style

SIDE, THICKNESS, LEAST = 150.0, 44.0, 5.0
"""Pixels of the largest side and of the most channels; the least of both."""
DEPTH: Final = 0.32
"""How much of the width of a volume its slanted edges go to the right and up."""
CAPTION, APART = 34.0, 3.0
OPTIONS: Final = {
    "direction": "leftright",
    "spacing": {"layer_gap": 34.0, "node_gap": 24.0, "dummy_gap": 16.0, "isolated_gap": 24.0},
    "routing": {"merge_edges": "both", "centre_ports": "all"},
    "coords": {"branch_style": "straight_main"},
}


@dataclass(frozen=True)
class Volume:
    """What one box makes: its shape, the family that colours it, and what is told of it."""

    shape: Shape
    family: str
    label: str
    times: int = 1


@dataclass(frozen=True)
class Group:
    """Volumes of one size in a row, which are drawn side by side."""

    volumes: tuple[Volume, ...]
    takes: tuple[str, ...]
    """The values that its first volume takes."""


def picture(graphs: Graphs, folding: Folding) -> svg.Picture:
    """Return the figure of all networks of a spec, one below the other.

    Errors: DlxError where no network makes maps (channels, positions) or signals.
    """
    if not any(len(node.shape) > 1 for graph in graphs.values() for node in graph.nodes):
        hint = "`--style layers` draws any network."
        raise DlxError(f"`--style paper` draws maps and signals, and {graphs.name} makes vectors alone", hint=hint)
    content, y, width = list[str](), MARGIN, 0.0
    for name, (tree, is_open) in opened(graphs, folding).items():
        head, wide = heading(graphs, name, MARGIN, y)
        part, size = _network(graphs[name], tree, is_open)
        content += [*head, f'<g transform="translate({svg.number(MARGIN)} {svg.number(y + TITLE)})">', *part, "</g>"]
        y, width = y + TITLE + size[1] + MARGIN, max(width, size[0], wide)
    legend, wide = _legend([name for name in FILLS if any(f'class="{name}"' in part for part in content)], y)
    return svg.picture(
        max(width, wide) + 2 * MARGIN, y + 16 + MARGIN, graphs.name, described(graphs), style(), [*content, *legend]
    )


def _network(graph: Graph, tree: Block, is_open: Opened) -> tuple[Iterator[str], tuple[float, float]]:
    import graphlay

    groups, holder = _groups(graph, list(_shown(tree, is_open)))
    scale = Scale(groups)
    drawing = graphlay.Graph()
    sizes = [scale.size(group) for group in groups]
    for i, (width, height) in enumerate(sizes):
        drawing.node(i, width=width, height=height + 2 * CAPTION)
    links = {(holder[name], i) for i, group in enumerate(groups) for name in group.takes if holder[name] != i}
    for source, target in sorted(links):
        drawing.edge(source, target)
    found = graphlay.layout(drawing, options=OPTIONS)
    low, high = found.bounds["min"], found.bounds["max"]
    return _parts(groups, sizes, scale, found, (low["x"], low["y"])), (high["x"] - low["x"], high["y"] - low["y"])


def _parts(
    groups: Sequence[Group], sizes: Sequence[svg.Point], scale: Scale, found: Any, low: svg.Point
) -> Iterator[str]:
    for edge in found.edges:
        points = [(point["x"] - low[0], point["y"] - low[1]) for point in edge["points"]]
        yield f'<path class="e" d="{svg.line(points)}"/>'
        yield arrow(points[-1], "right")
    for group, (width, height), node in zip(groups, sizes, found.nodes, strict=True):
        left, middle = node["center"]["x"] - low[0] - width / 2, node["center"]["y"] - low[1]
        yield from scale.parts(group, left, middle + height / 2)


def _shown(tree: Block, is_open: Opened) -> Iterator[Item]:
    """Yield the boxes of open blocks; a block that is repeated is one box."""
    for item in tree.items:
        if isinstance(item, Block) and item.times == 1 and is_open(item):
            yield from _shown(item, is_open)
        else:
            yield item


def _groups(graph: Graph, items: Sequence[Item]) -> tuple[list[Group], dict[str, int]]:
    """Return the groups of a network, and for each value the number of its group."""
    groups = [Group((Volume(size, "other", name),), ()) for name, size in graph.inputs.items()]
    holder = {name: i for i, name in enumerate(graph.inputs)}
    uses = dict.fromkeys([*graph.inputs, *(node.name for node in graph.nodes)], 0)
    for item in items:
        names = {node.name for node in item.nodes}
        for name in {name for node in item.nodes for name in taken(node)} - names:
            uses[name] += 1
    for item in items:
        names = {node.name for node in item.nodes}
        takes = tuple(dict.fromkeys(name for node in item.nodes for name in taken(node) if name not in names))
        last = item.nodes[-1]
        before = holder[takes[0]] if len(takes) == 1 else None
        if before is not None and isinstance(item, Stack) and family(item.nodes[0]) == "reshape":
            holder |= dict.fromkeys(names, before)
            uses[last.name] += uses[takes[0]] - 1
            continue
        volumes = _volumes(item)
        if before is not None and uses[takes[0]] == 1 and _is_as_large(groups[before], last.shape):
            groups[before] = Group((*groups[before].volumes, *volumes), groups[before].takes)
        else:
            groups.append(Group(volumes, takes))
            before = len(groups) - 1
        holder |= dict.fromkeys(names, before)
    return groups, holder


def _volumes(item: Item) -> tuple[Volume, ...]:
    """Return what a box is drawn as: a repeated block of several kinds of layers, such as attention and the linear
    ones of a transformer, as each of them, with the number of times above the middle."""
    inner = [node for node in item.first if node.params and family(node) != "norm"] if isinstance(item, Block) else []
    if isinstance(item, Stack) or item.times == 1 or len({family(node) for node in inner}) < 2:
        return (_volume(item),)
    times = [item.times if i == len(inner) // 2 else 1 for i in range(len(inner))]
    return tuple(
        Volume(node.shape, family(node), f"{item.title}: {title(node)}", many)
        for node, many in zip(inner, times, strict=True)
    )


def _volume(item: Item) -> Volume:
    if isinstance(item, Stack):
        return Volume(item.nodes[0].shape, family(item.nodes[0]), ", ".join(title(node) for node in item.nodes))
    main = max(item.nodes, key=lambda node: node.plan.macs)
    return Volume(item.nodes[-1].shape, family(main), item.title, item.times)


def _is_as_large(group: Group, size: Shape) -> bool:
    """Whether a map has the positions of those of a group; vectors have none."""
    return len(size) > 1 and tuple(group.volumes[-1].shape[1:]) == tuple(size[1:])


class Scale:
    """Sides by the square root of positions, thickness by that of channels: small maps are seen beside large ones."""

    def __init__(self, groups: Sequence[Group]) -> None:
        shapes = [volume.shape for group in groups for volume in group.volumes]
        self.side = max((max(one[1:]) for one in shapes if len(one) > 1), default=1)
        self.channels = max((one[0] for one in shapes if len(one) > 1), default=1)
        self.features = max((one[0] for one in shapes if len(one) == 1), default=1)

    def box(self, size: Shape) -> tuple[float, float, float]:
        """Return thickness, height and slanted depth of a volume."""
        if len(size) < 2:
            features = size[0] if size else 1
            return 9.0, max(LEAST, 0.8 * SIDE * sqrt(features / self.features)), 0.0
        height, across = size[-2 if len(size) > 2 else -1], size[-1] if len(size) > 2 else 0
        thick = max(LEAST, THICKNESS * sqrt(size[0] / self.channels))
        depth = max(LEAST, DEPTH * SIDE * sqrt(across / self.side)) if across else 0.0
        return thick, max(LEAST, SIDE * sqrt(height / self.side)), depth

    def size(self, group: Group) -> tuple[float, float]:
        """Return width and height of a group, with room for its caption."""
        boxes = [self.box(volume.shape) for volume in group.volumes]
        width = sum(thick + APART for thick, _, _ in boxes) + max(depth for _, _, depth in boxes)
        words = max(svg.text_width(text, svg.SMALL) for text in captions(group))
        return max(width, words), max(height + depth for _, height, depth in boxes)

    def parts(self, group: Group, left: float, bottom: float) -> Iterator[str]:
        width, _ = self.size(group)
        boxes = [self.box(volume.shape) for volume in group.volumes]
        own = sum(thick + APART for thick, _, _ in boxes) + max(depth for _, _, depth in boxes)
        x = left + (width - own) / 2
        for volume, (thick, height, depth) in zip(group.volumes, boxes, strict=True):
            yield f"<g><title>{svg.quoted(f'{volume.label}: {shape(volume.shape)}')}</title>"
            yield from cuboid(x, bottom, thick, height, depth, volume.family)
            if volume.times > 1:
                above = bottom - height - depth - 5
                yield svg.text(x + thick / 2 + depth, above, f"\u00d7{volume.times}", "b", "middle")
            yield "</g>"
            x += thick + APART
        for i, words in enumerate(captions(group)):
            yield svg.text(left + width / 2, bottom + 14 + 14 * i, words, "s", "middle")


def captions(group: Group) -> list[str]:
    """Return the channels of a group, each number once in a row, and its positions; the features of a vector."""
    last = group.volumes[-1].shape
    if len(last) < 2:
        return [shape(last)]
    channels = [f"{volume.shape[0]:,}" for volume in group.volumes]
    distinct = [one for i, one in enumerate(channels) if i == 0 or one != channels[i - 1]]
    return [", ".join(distinct), by(last[1:])]


def cuboid(x: float, bottom: float, thick: float, height: float, depth: float, name: str) -> Iterator[str]:
    """Yield the front, the top and the right side of a box seen from the left above."""
    top = bottom - height
    yield svg.rect(x, top, thick, height, name)
    if depth:
        n = svg.number
        slant, back = f"l{n(depth)} {n(-depth)}", f"l{n(-depth)} {n(depth)}z"
        side = f"M{n(x + thick)} {n(top)}{slant}v{n(height)}{back}"
        yield f'<path class="{name}" d="M{n(x)} {n(top)}{slant}h{n(thick)}{back}"/>'
        yield f'<path class="{name}" d="{side}"/><path class="d" d="{side}"/>'


def _legend(families: Sequence[str], y: float) -> tuple[list[str], float]:
    content, x = list[str](), MARGIN
    for name in (name for name in FILLS if name in families and name != "other"):
        content += [svg.rect(x, y, 12, 12, name), svg.text(x + 18, y + 11, name, "s")]
        x += 36 + svg.text_width(name, svg.SMALL)
    return content, x - MARGIN
