"""A contact sheet: pictures beside each other with captions and maps of classes over them, in one PNG file.

Its text is in DejaVu Sans, which matplotlib brings, without importing matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np
from ...utils import files

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from ..base import Floats, Labels

    Bytes = npt.NDArray[np.uint8]

SMALLEST = 96
"""Pixels of the longer side of a picture up to which it is enlarged, by a whole factor."""
LARGEST = 512
"""Pixels of the longer side from which on a picture is reduced, by a whole factor."""
MARGIN, LINE, TEXT = 6, 14, 10
"""Pixels between pictures, of a line of text, and of its letters."""
BETWEEN = 2
"""Pixels between the pictures of a plain grid."""
PLAIN, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"
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


@dataclass(frozen=True)
class Section:
    """Examples below a heading, none where it is empty: for each a caption of one line or more, and its tiles."""

    heading: str
    examples: Sequence[tuple[str, Sequence[Tile]]]


def check_suffix(path: Path) -> None:
    """Raise a DataError where the name of a file does not end in .png, in letters of any case."""
    if path.suffix.lower() != ".png":
        raise DataError(f"{path} does not end in .png", hint="The pictures are written as PNG: `--png pictures.png`.")


def save(path: Path, sections: Sequence[Section], across: int = 4) -> None:
    """Write a sheet to a PNG file, `across` examples in a line, whole or not at all.

    Errors: DataError where the file cannot be written, or its name does not end in .png.
    """
    check_suffix(path)
    try:
        files.replace(path, as_png(sections, across))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None


def as_png(sections: Sequence[Section], across: int) -> bytes:
    """Return a sheet as the bytes of a PNG file."""
    from PIL import Image

    images = [part for section in sections for part in (_heading(section.heading), _grid(section, across)) if part]
    sheet = Image.new("RGB", (max(one.width for one in images), sum(one.height for one in images)), "white")
    top = 0
    for one in images:
        sheet.paste(one, (0, top))
        top += one.height
    packed = BytesIO()
    sheet.save(packed, "PNG")
    return packed.getvalue()


def grid(pictures: Floats, across: int) -> bytes:
    """Return pictures (n, 1 or 3, height, width) from 0 to 1 side by side, `across` in a line, as a PNG file."""
    from PIL import Image

    tiles = [
        np.pad(painted(Tile(one)), ((0, BETWEEN), (0, BETWEEN), (0, 0)), constant_values=255) for one in pictures
    ]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % across)
    lines = [np.concatenate(tiles[i : i + across], 1) for i in range(0, len(tiles), across)]
    packed = BytesIO()
    Image.fromarray(np.concatenate(lines)[:-BETWEEN, :-BETWEEN]).save(packed, "PNG")
    return packed.getvalue()


def _heading(text: str) -> Image | None:
    from PIL import Image, ImageDraw

    if not text:
        return None
    image = Image.new("RGB", (_width(text, BOLD) + 2 * MARGIN, LINE + MARGIN), "white")
    ImageDraw.Draw(image).text((MARGIN, MARGIN), text, fill="black", font=_font(BOLD))
    return image


def _grid(section: Section, across: int) -> Image:
    """Draw the examples of a section, all cells as large as the largest."""
    from PIL import Image, ImageDraw

    cells = [(caption.split("\n"), [_image(tile) for tile in tiles]) for caption, tiles in section.examples]
    lines = max((len(caption) for caption, _ in cells), default=0)
    of_tiles = [sum(one.width + MARGIN for one in tiles) for _, tiles in cells]
    of_text = [_width(line) + MARGIN for caption, _ in cells for line in caption]
    wide = max([*of_tiles, *of_text], default=0) + MARGIN
    high = max((one.height for _, tiles in cells for one in tiles), default=0) + lines * LINE + 2 * MARGIN
    sheet = Image.new("RGB", (wide * min(across, max(len(cells), 1)), high * -(-len(cells) // across)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, tiles) in enumerate(cells):
        left, top = wide * (i % across) + MARGIN, high * (i // across)
        for number, line in enumerate(caption):
            draw.text((left, top + number * LINE + 1), line, fill="black", font=_font())
        for one in tiles:
            sheet.paste(one, (left, top + lines * LINE + MARGIN))
            left += one.width + MARGIN
    return sheet


def _width(text: str, face: str = PLAIN) -> int:
    """Pixels of a line of text."""
    return int(_font(face).getlength(text)) + 1


@cache
def _font(face: str = PLAIN) -> Any:
    """Return the font of the text; Pillow's own, of ASCII alone, where there is no matplotlib."""
    from PIL import ImageFont

    found = find_spec("matplotlib")
    folder = Path(found.origin).parent if found is not None and found.origin else Path()
    try:
        return ImageFont.truetype(folder / "mpl-data/fonts/ttf" / face, TEXT)
    except OSError:
        return ImageFont.load_default(TEXT)


def _image(tile: Tile) -> Image:
    """Return a tile as an image, reduced where it is very large."""
    from PIL import Image

    image = Image.fromarray(painted(tile))
    return image.reduce(max(1, -(-max(image.size) // LARGEST)))


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
