"""What a value of a layer sees of an input, drawn on a picture or on the bare positions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...errors import DlxError, Mark, SpecError
from ...graph import Graph, Graphs, LayerNode
from ...shapes import ReceptiveField, UnknownReceptiveField
from ...utils import files
from .. import svg
from .labels import by, shape
from .layers import MARGIN, TITLE, style
from .receptive_field import Window, centre, size_of, window

SIDE, MOST_LINES = 480.0, 64
"""Pixels of the longer side of an input; most positions of a side between which lines are drawn."""
OPTION: Final = Mark("--receptive-field")
SIGNATURES: Final = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}
MOST_BYTES: Final = 2**24


def picture(graphs: Graphs, name: str, image: Path | None = None) -> svg.Picture:
    """Return the receptive field of the middle of a layer on the main input, with that of its neighbour.

    Of a block it is that of its last layer, whose name stands in the title.

    Errors: DlxError where there is no such layer, the input is no picture, the field is not known, or `image` is no
        PNG or JPEG file.
    """
    name = _last_of_block(graphs, name) or name
    try:
        network, node = graphs.find(name)
    except SpecError as error:
        raise SpecError(*(replace(problem, mark=OPTION) for problem in error.problems)) from None
    graph = graphs[network]
    seen = centre(node, graph)
    if seen is None:
        raise DlxError(_why_not(node, graph, name), hint="`dlx inspect SPEC --layer NAME` tells it in numbers.")
    content = list(_parts(seen, node, image))
    high, wide, *_ = _extent(seen)
    scale = SIDE / max(seen[:2])
    title, about = f"{name} on {node.main_input}", _sentence(node, seen)
    head = [svg.text(MARGIN, MARGIN + 12, title, "h"), svg.text(MARGIN, MARGIN + 29, about, "s")]
    width = max(wide * scale, svg.text_width(about, svg.SMALL), svg.text_width(title, svg.LARGE, bold=True))
    size = (width + 2 * MARGIN, high * scale + 2 * MARGIN + TITLE)
    return svg.picture(*size, title, about, style() + STYLE, [*head, *content])


STYLE: Final = (
    ".g{stroke:#b9c3ca;stroke-width:.5}.i{fill:#f6f8f9;stroke:#1c2429;stroke-width:1.3}"
    ".n{fill:none;stroke:#bf7221;stroke-width:1.6;stroke-dasharray:5 4}"
    ".m{fill:#3d74ab;fill-opacity:.3;stroke:#3d74ab;stroke-width:2}"
)


def _last_of_block(graphs: Graphs, name: str) -> str:
    """Return the last layer of a block; empty where the name is not that of one."""
    inside = [full for full, _ in graphs.nodes() if full.startswith(f"{name.rstrip('/')}/")]
    return inside[-1] if inside and name not in graphs else ""


def _why_not(node: LayerNode, graph: Graph, name: str) -> str:
    if isinstance(node.receptive_field, UnknownReceptiveField):
        return f"the receptive field of `{name}` is not known from `{node.receptive_field.node}` on"
    if not node.main_input:
        return f"`{name}` sees nothing of an input"
    if size_of(graph, node.main_input) is None:
        size = shape(graph.inputs[node.main_input])
        return f"a receptive field is drawn on (channels, height, width), and `{node.main_input}` is {size}"
    return f"`{name}` has no receptive field of height and width"


def _sentence(node: LayerNode, seen: Window) -> str:
    high, wide, _, _, height, width = seen
    field = node.receptive_field
    if field == "global" or not isinstance(field, ReceptiveField):
        return f"a value sees all of {by((high, wide))}"
    beyond = "" if _inside(seen) else ", beyond the edges: padding"
    return (
        f"a value sees {by((height, width))} of {by((high, wide))}, its neighbour {by(field.stride)} further{beyond}"
    )


def _inside(seen: Window) -> bool:
    high, wide, top, left, height, width = seen
    return top >= 0 and left >= 0 and top + height <= high and left + width <= wide


def _extent(seen: Window) -> tuple[int, int, int, int]:
    """Return height and width of the input with what is seen beyond it, and how much of that is above and left."""
    high, wide, top, left, height, width = seen
    above, before = max(0, -top), max(0, -left)
    return max(high, top + height + 1) + above, max(wide, left + width + 1) + before, above, before


def _parts(seen: Window, node: LayerNode, image: Path | None) -> Iterator[str]:
    high, wide, top, left, height, width = seen
    scale = SIDE / max(high, wide)
    _, _, above, before = _extent(seen)
    x, y = MARGIN + before * scale, MARGIN + TITLE + above * scale
    yield svg.rect(x, y, wide * scale, high * scale, "i")
    if image is not None:
        size = f'width="{svg.number(wide * scale)}" height="{svg.number(high * scale)}"'
        at = f'x="{svg.number(x)}" y="{svg.number(y)}"'
        yield f'<image {at} {size} preserveAspectRatio="none" href="{_embedded(image)}"/>'
    elif max(high, wide) <= MOST_LINES:
        yield from _lines(x, y, high, wide, scale)
    field = node.receptive_field
    if isinstance(field, ReceptiveField) and not field.is_global:
        along = zip((high, wide), field.size, field.stride, field.start, strict=True)
        (down, _), (right, _) = (window(*axis, next_by=1) for axis in along)
        yield svg.rect(x + right * scale, y + down * scale, width * scale, height * scale, "n")
    yield svg.rect(x + left * scale, y + top * scale, width * scale, height * scale, "m")


def _lines(x: float, y: float, high: int, wide: int, scale: float) -> Iterator[str]:
    n = svg.number
    for i in range(1, high):
        yield f'<path class="g" d="M{n(x)} {n(y + i * scale)}h{n(wide * scale)}"/>'
    for i in range(1, wide):
        yield f'<path class="g" d="M{n(x + i * scale)} {n(y)}v{n(high * scale)}"/>'


def _embedded(image: Path) -> str:
    """Return a picture as it is, as an address of its own content."""
    try:
        content = files.read(image, MOST_BYTES)
    except OSError as error:
        raise DlxError(f"{image} cannot be read: {files.reason(error)}") from error
    kind = next((kind for begin, kind in SIGNATURES.items() if content.startswith(begin)), None)
    if kind is None:
        raise DlxError(f"{image} is no PNG or JPEG file", hint="Other pictures can be saved as PNG first.")
    return f"data:{kind};base64,{b64encode(content).decode()}"
