"""A contact sheet: pictures beside each other with captions and maps of classes over them, in one PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Floats, Labels

    Bytes = npt.NDArray[np.uint8]

SMALLEST = 96
"""Pixels of the longer side of a picture up to which it is enlarged, by a whole factor."""
MARGIN, LINE = 6, 14
"""Pixels between pictures, and of a line of text."""
ALPHA = 0.45
"""Opacity of the colour of a class."""
IGNORED = (128, 128, 128)
PALETTE = (
    *((230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (145, 30, 180), (70, 240, 240), (245, 130, 48)),
    *((240, 50, 230), (210, 245, 60), (0, 128, 128), (170, 110, 40), (128, 0, 0)),
)
"""Colours of the classes 1, 2, ... of a map, then again from the first on; class 0 is left as it is."""


@dataclass(frozen=True)
class Tile:
    """A picture (1, 3 or 4, height, width) from 0 to 1, and the class of each of its pixels, where there is a map."""

    picture: Floats
    classes: Labels | None = None


def save(path: Path, rows: Sequence[tuple[str, Sequence[Tile]]], across: int = 4) -> None:
    """Write groups of tiles with their captions to a PNG file, `across` groups in a line.

    Errors: DataError where the file cannot be written, or its name does not end in .png.
    """
    from PIL import Image, ImageDraw

    if path.suffix.lower() != ".png":
        raise DataError(f"{path} does not end in .png", hint="The pictures are written as PNG: `--png pictures.png`.")
    groups = [(caption, [painted(tile) for tile in tiles]) for caption, tiles in rows]
    wide = max(sum(one.shape[1] + MARGIN for one in tiles) for _, tiles in groups) + MARGIN
    high = max(one.shape[0] for _, tiles in groups for one in tiles) + LINE + 2 * MARGIN
    lines = -(-len(groups) // across)
    sheet = Image.new("RGB", (wide * min(across, len(groups)), high * lines), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, tiles) in enumerate(groups):
        left, top = wide * (i % across) + MARGIN, high * (i // across)
        draw.text((left, top + 1), caption.encode("ascii", "replace").decode(), fill="black")
        for one in tiles:
            sheet.paste(Image.fromarray(one), (left, top + LINE + MARGIN))
            left += one.shape[1] + MARGIN
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None


def painted(tile: Tile) -> Bytes:
    """Return a tile as colours (height, width, 3), enlarged, with its classes over it."""
    x = np.moveaxis(np.asarray(tile.picture, np.float32), 0, -1)[..., :3]
    shown: Any = np.round(np.clip(np.broadcast_to(x, (*x.shape[:2], 3)), 0, 1) * 255)
    if tile.classes is not None:
        colours = np.array(PALETTE, np.float32)[(tile.classes - 1) % len(PALETTE)]
        colours[tile.classes < 0] = IGNORED
        over = (tile.classes != 0)[..., None]
        shown = np.where(over, np.round((1 - ALPHA) * shown + ALPHA * colours), shown)
    factor = max(1, SMALLEST // max(x.shape[:2]))
    return np.ascontiguousarray(np.repeat(np.repeat(shown, factor, 0), factor, 1), np.uint8)
