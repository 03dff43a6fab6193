"""Decoding of one picture, with Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
NAMED = {1: "grey", 3: "colour", 4: "colour with transparency"}
GREY = {"1", "L"}
DEPTH = "16 bits a colour, of which Pillow reads 8"
FRAMES = "several frames, of which the first is taken"
SIXTEEN = 65535  # the brightest of 16 bits
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class ImageSource:
    """A picture that is not decoded yet: its name in messages, and its file or bytes."""

    name: str
    content: Path | bytes


@dataclass(frozen=True)
class ImageFormat:
    """Channels and size that all pictures of a data set are converted to; None leaves those of the picture."""

    channels: int | None = None
    size: tuple[int, int] | None = None
    fit: str = "stretch"
    filter: str = "bilinear"

    def decode(self, source: ImageSource, report: Callable[[str], object] | None = None) -> npt.NDArray[Any]:
        """Return the pixels of a picture, as `decode` does."""
        return decode(source, self, report)


def shape_of(source: ImageSource, form: ImageFormat) -> Shape:
    """Return the shape (channels, height, width) of the converted picture, from its header."""
    with open_image(source) as image:
        width, height = image.size
        if orientation(image) >= 5:
            width, height = height, width
        check_depth(image, source)
        return Shape((form.channels or channels_of(image), *(form.size or (height, width))))


def ignored_of(source: ImageSource) -> str:
    """Return a sentence on what decoding ignores, from the header; empty for nothing."""
    with open_image(source) as image:
        return ignored_parts(image)


def decode(source: ImageSource, form: ImageFormat, report: Callable[[str], object] | None = None) -> npt.NDArray[Any]:
    """Return the pixels (height, width, channels) from 0 to 255: bytes, or float32 for 16 bits.

    `report` is called with a sentence on what decoding ignores.
    """
    with open_image(source) as image:
        check_depth(image, source)
        channels = form.channels or channels_of(image)
        if report is not None and (about := ignored_parts(image)):
            report(about)
        whole = upright(image)
        deep = whole.mode.startswith("I;16")
        whole = _of_this_machine(whole) if deep else whole
        if deep and channels != 1:
            raise DataError(
                f"{source.name} has 16-bit grey, which is not turned into {NAMED[channels]}",
                hint="Give `channels: 1`.",
            )
        if not deep and whole.mode != MODES[channels]:
            # Pillow converts LAB to nothing but RGB
            whole = (whole.convert("RGB") if whole.mode == "LAB" else whole).convert(MODES[channels])
        pixels: npt.NDArray[Any] = np.asarray(resized(whole, form))
        if deep:
            pixels = pixels.astype(np.float32) / np.float32(SIXTEEN / 255)
        return pixels[..., None] if channels == 1 else pixels


def ignored_parts(image: Image) -> str:
    """Return a sentence on what decoding an open image ignores; empty for nothing."""
    if getattr(image, "is_animated", False):
        return FRAMES
    tiles: Any = getattr(image, "tile", None)  # how Pillow will decode it: `RGB;16B`
    way = tiles[0][3] if tiles else ""
    raw = way[0] if isinstance(way, tuple) and way else way
    return DEPTH if isinstance(raw, str) and ";16" in raw and not image.mode.startswith("I;16") else ""


def check_depth(image: Image, source: ImageSource) -> None:
    if image.mode in {"I", "F"}:
        raise DataError(
            f"{source.name} has pixels of 32 bits, and pictures here have 8, or 16 of grey",
            hint="Save them as arrays, and read those with `arrays`.",
        )


def _of_this_machine(image: Image) -> Image:
    """Return a 16-bit grey image in native byte order, the only one that Pillow resizes."""
    from PIL import Image

    return image if image.mode == "I;16" else Image.fromarray(np.asarray(image).astype(np.uint16))


def orientation(image: Image) -> int:
    """Return the EXIF orientation: 1 is upright, 5 to 8 are rotated by 90 degrees."""
    held = image.getexif().get(0x0112, 1)
    return held if isinstance(held, int) and 1 <= held <= 8 else 1


def upright(image: Image) -> Image:
    from PIL import ImageOps

    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


def resized(image: Image, form: ImageFormat, pad: int | None = None) -> Image:
    """Resize an image to the size of `form`; `pad` is the value that `fit: pad` adds, None for black."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    if form.size is None:
        return image
    size, method = form.size[::-1], Resampling[form.filter.upper()]
    if form.fit == "stretch":
        return image.resize(size, method)
    if form.fit == "crop":
        return ImageOps.fit(image, size, method)
    return ImageOps.pad(image, size, method) if pad is None else _padded(image, size, method, pad)


def _padded(image: Image, size: tuple[int, int], method: Any, value: int) -> Image:
    """Return what ImageOps.pad does, for values of 32 bits, where it takes none for what it adds."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    inner = ImageOps.contain(image, size, method)
    whole = Pillow.new(image.mode, size, value)
    left, top = (round((a - b) * 0.5) for a, b in zip(size, inner.size, strict=True))
    whole.paste(inner, (left, top))
    return whole


def channels_of(image: Image) -> int:
    """Return 1 for a grey image and 3 for a coloured one; an alpha channel is dropped."""
    if image.mode in GREY or image.mode.startswith("I;16"):
        return 1
    return 1 if image.mode == "LA" else 3


@contextmanager
def open_image(source: ImageSource) -> Iterator[Image]:
    """Context of an image with its header read, in which Pillow's errors become a DataError with its name."""
    from PIL import Image, UnidentifiedImageError

    content = source.content
    try:
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content) as image:
            yield image
    except UnidentifiedImageError:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        raise DataError(
            f"{source.name} is not an image of a known format ({size:,} bytes)",
            hint="Take it out, or fetch it again.",
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{source.name} cannot be read as an image: {error}", hint="Take it out, or fetch it again."
        ) from None
