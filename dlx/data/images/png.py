"""Colours as PNG files, and pictures read back as colours."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]


def encoded(colours: Bytes, longest: int = 224) -> bytes:
    """Return colours (height, width, 3) as a PNG file, small ones enlarged by a whole factor up to `longest` pixels.

    Viewers smooth what they enlarge themselves.
    """
    from PIL import Image

    factor = max(1, longest // max(colours.shape[:2]))
    enlarged = np.ascontiguousarray(np.repeat(np.repeat(colours, factor, 0), factor, 1))
    packed = BytesIO()
    Image.fromarray(enlarged).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def decoded(content: bytes, name: str) -> npt.NDArray[Any]:
    """Return a picture as colours (height, width, 3) from 0 to 1. DataError where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"), np.float32) / 255
    except (OSError, ValueError) as error:
        raise DataError(f"{name} is no picture that can be read") from error
