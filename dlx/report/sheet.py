"""A sheet of small pictures with captions: filters, feature maps, attention, samples."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ..data.images import png
from ..lazy import np
from . import svg
from .charts_style import INK, Theme
from .kinds import Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Colours = Literal["grey", "diverging", "sequential", "picture"]
SIDE: Final = {"small": 56.0, "middle": 112.0, "large": 220.0}
"""Pixels of the longer side of a tile."""
WIDTH: Final = 1060.0
"""Pixels of a line of tiles at most."""
MARGIN, BETWEEN, LINE = 16.0, 8.0, 15.0
BLUE, RED, DARK, LIGHT = (33, 102, 172), (178, 24, 43), (8, 48, 107), (247, 251, 255)
Box = tuple[float, float, float, float]
"""Left, top, width and height, in places of a tile."""


@dataclass(frozen=True)
class Tile:
    """A picture of numbers (height, width), or of colours (height, width, 3) from 0 to 1, and the words below it.

    `boxes` are drawn over it, the first in full; `rows` and `columns` name its places.
    """

    caption: str
    values: Array = field(repr=False)
    boxes: tuple[Box, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """Tiles of one layer or run under a heading, with common colours.

    grey: from the least value, black, to the largest, white. diverging: 0 is white, red above and blue below it.
    sequential: 0 is white, the largest blue. picture: colours as they are.
    """

    heading: str
    tiles: tuple[Tile, ...]
    colours: Colours = "grey"
    size: Literal["small", "middle", "large"] = "small"
    about: str = ""
    label: str = ""
    """The group of runs that it is of."""


@dataclass(frozen=True)
class Sheet:
    """Rows of tiles below each other."""

    kind: Kind
    title: str
    rows: tuple[Row, ...]

    def picture(self, theme: Theme = "light", titled: bool = True) -> svg.Picture:
        """Return the sheet as an SVG file, with its title where that does not stand above it already."""
        content = [svg.text(MARGIN, MARGIN + 12, self.title, "h")] if titled else []
        y = MARGIN + 24 if titled else 0.0
        for row in self.rows:
            parts, y = _row(row, y)
            content += parts
        widths = [MARGIN * 2 + svg.text_width(self.title, svg.LARGE, bold=True)]
        heads = [f"{row.heading}  {row.about}" for row in self.rows]
        widths += [svg.text_width(words, svg.SIZE, bold=True) + 2 * MARGIN for words in heads]
        widths += [min(WIDTH, sum(_width(row, t) + BETWEEN for t in row.tiles)) + 2 * MARGIN for row in self.rows]
        about = "; ".join(f"{row.heading}: {len(row.tiles)}" for row in self.rows)
        return svg.picture(max(widths), y + MARGIN, self.title, about, style(theme), content)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and rows of all values; those of colours have one row a colour."""
        rows = [
            [row.label, row.heading, tile.caption, *place, value]
            for row in self.rows
            for tile in row.tiles
            for place, value in _places(tile.values)
        ]
        return ["runs", "layer", "picture", "row", "column", "colour", "value"], rows

    def as_json(self) -> dict[str, Any]:
        """Return what is on the sheet for `--json`."""
        rows = [
            {
                "label": row.label,
                "layer": row.heading,
                "about": row.about,
                "pictures": [{"caption": t.caption, "values": _plain(t.values)} for t in row.tiles],
            }
            for row in self.rows
        ]
        return {"kind": self.kind, "title": self.title, "rows": rows}


def style(theme: Theme) -> str:
    ink = INK[theme]
    return (
        f"text{{font-size:12px;fill:{ink['text']}}}.h{{font-size:15px;font-weight:bold}}.b{{font-weight:bold}}"
        f".s{{font-size:11px;fill:{ink['faint']}}}.w{{fill:{ink['background']}}}"
        f".e{{fill:none;stroke:{ink['line']};stroke-width:.6}}"
        ".m{fill:#d55e00;fill-opacity:.16;stroke:#d55e00;stroke-width:1.6}"
        ".n{fill:none;stroke:#d55e00;stroke-width:1.2;stroke-dasharray:4 3}"
    )


def _row(row: Row, y: float) -> tuple[list[str], float]:
    """Return a row as SVG from a height on, and the height below it."""
    content = [svg.text(MARGIN, y + 16, row.heading, "b")]
    if row.about:
        at = MARGIN + svg.text_width(row.heading, svg.SIZE, bold=True) + 10
        content.append(svg.text(at, y + 16, row.about, "s"))
    y += 24
    x, deepest = MARGIN, 0.0
    bounds = _bounds(row)
    for tile in row.tiles:
        wide = _width(row, tile)
        if x > MARGIN and x + wide > MARGIN + WIDTH:
            x, y, deepest = MARGIN, y + deepest + BETWEEN, 0.0
        parts, high = _tile(row, tile, x, y, bounds)
        content += parts
        x, deepest = x + wide + BETWEEN, max(deepest, high)
    return content, y + deepest + BETWEEN


def _scale(row: Row, tile: Tile) -> float:
    return SIDE[row.size] / float(max(tile.values.shape[:2]))


def _beside(tile: Tile) -> float:
    """Pixels of the names of the places of a tile on its left."""
    return max((svg.text_width(name, svg.SMALL) + 4 for name in tile.rows), default=0.0)


def _width(row: Row, tile: Tile) -> float:
    words = [svg.text_width(line, svg.SMALL) for line in tile.caption.split("\n")]
    left, _, right, _ = _beyond(tile)
    return max((float(tile.values.shape[1]) + left + right) * _scale(row, tile) + _beside(tile), *words)


def _beyond(tile: Tile) -> tuple[float, float, float, float]:
    """Return how far boxes reach beyond a picture, left, above, right and below, at most half of its side."""
    high, wide = (float(side) for side in tile.values.shape[:2])
    left, top = (max((-box[i] for box in tile.boxes), default=0.0) for i in (0, 1))
    right, below = (
        max((box[i] + box[i + 2] - side for box in tile.boxes), default=0.0) for i, side in ((0, wide), (1, high))
    )
    limits = (wide / 2, high / 2, wide / 2, high / 2)
    return tuple(min(limit, max(0.0, x)) for x, limit in zip((left, top, right, below), limits, strict=True))  # type: ignore[return-value]


def _boxes(
    tile: Tile, scale: float, corner: tuple[float, float], size: tuple[float, float], over: Sequence[float]
) -> list[str]:
    """Return the boxes over a picture; what reaches farther than there is room for is cut off."""
    n, (left, top) = svg.number, corner
    across, down = size[0] + over[0] + over[2] + 2, size[1] + over[1] + over[3] + 2
    content = [f'<svg x="{n(left)}" y="{n(top)}" width="{n(across)}" height="{n(down)}">']
    for i, (x, y, width, height) in enumerate(tile.boxes):
        box = (over[0] + 1 + x * scale, over[1] + 1 + y * scale, width * scale, height * scale)
        content.append(svg.rect(*box, "n" if i else "m"))
    return [*content, "</svg>"]


def _tile(row: Row, tile: Tile, x: float, y: float, bounds: tuple[float, float]) -> tuple[list[str], float]:
    """Return a tile as SVG, and its height with its words."""
    scale, n = _scale(row, tile), svg.number
    high, wide = (side * scale for side in tile.values.shape[:2])
    over = [part * scale for part in _beyond(tile)]
    left, y = x + _beside(tile) + over[0], y + over[1]
    address = b64encode(png.encoded(painted(tile.values, row.colours, bounds))).decode()
    at = f'x="{n(left)}" y="{n(y)}" width="{n(wide)}" height="{n(high)}" preserveAspectRatio="none"'
    image = f'<image {at} style="image-rendering:pixelated" href="data:image/png;base64,{address}"/>'
    content = [image, svg.rect(left, y, wide, high, "e")]
    if tile.boxes:
        content += _boxes(tile, scale, (left - over[0] - 1, y - over[1] - 1), (wide, high), over)
    for i, name in enumerate(tile.rows):
        content.append(svg.text(left - 4, y + (i + 0.5) * scale + 4, name, "s", "end"))
    below = y + high + over[3] + 12
    for i, name in enumerate(tile.columns):
        at_x, at_y = left + (i + 0.5) * scale + 3, below - 6
        turned = f'<g transform="rotate(-90 {n(at_x)} {n(at_y)})">{svg.text(at_x, at_y, name, "s", "end")}</g>'
        content.append(turned)
    below += max((svg.text_width(name, svg.SMALL) for name in tile.columns), default=0.0)
    for line in tile.caption.split("\n") if tile.caption else []:
        content.append(svg.text(left, below, line, "s"))
        below += LINE
    return content, below - y - LINE + 6


def _bounds(row: Row) -> tuple[float, float]:
    """Return what is shown as the darkest and the lightest in all tiles of a row."""
    finite = [one.values[np.isfinite(one.values)] for one in row.tiles]
    values = np.concatenate([one.reshape(-1) for one in finite]) if finite else np.zeros(1)
    if not len(values):
        return 0.0, 1.0
    if row.colours == "diverging":
        largest = float(np.abs(values).max())
        return -largest, largest
    return (0.0 if row.colours == "sequential" else float(values.min())), float(values.max())


def painted(values: Array, colours: Colours, bounds: tuple[float, float]) -> Array:
    """Return values as colours (height, width, 3) of bytes; what is not finite is grey."""
    if values.ndim == 3:
        whole: Array = np.round(np.clip(np.broadcast_to(values, (*values.shape[:2], 3)), 0, 1) * 255)
        return whole.astype(np.uint8)
    low, high = bounds
    share = np.clip((np.nan_to_num(values) - low) / ((high - low) or 1.0), 0, 1)[..., None]
    ends = {"grey": ((0, 0, 0), (255, 255, 255)), "sequential": (LIGHT, DARK)}
    if colours == "diverging":
        white, below, above = (np.array(one, float) for one in ((255, 255, 255), BLUE, RED))
        made = np.where(share < 0.5, below + (white - below) * 2 * share, white + (above - white) * (2 * share - 1))
    else:
        first, last = (np.array(one, float) for one in ends.get(colours, ends["grey"]))
        made = first + (last - first) * share
    made = np.where(np.isfinite(values)[..., None], made, 128.0)
    found: Array = np.round(made).astype(np.uint8)
    return found


def _places(values: Array) -> Iterator[tuple[list[Any], float]]:
    for place in np.ndindex(values.shape):
        yield [*place, *([""] if len(place) == 2 else [])], float(values[place])


def _plain(values: Array) -> Any:
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()


def grouped(labels: Sequence[str], label: str, words: str) -> str:
    """Return the heading of a row, with the group where there are several."""
    return words if len(labels) < 2 else f"{label}: {words}"
