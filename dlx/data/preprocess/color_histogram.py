"""Histograms of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from .base import Preprocess
from .sums import chunks, concatenated

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics
    from .sums import Doubles


class ColorHistogram(Preprocess):
    """Describe an image by how much of each colour it has, wherever that is.

    Shapes: (3, H, W) with values from 0 to 1 -> (bins,) of the hue, or (3 * bins,) of hue, saturation and value, or
    of red, green and blue. Entries are shares of the pixels. The hue of grey is 0.
    Errors: inputs without three channels, or with values beyond 0 and 1, such as standardised ones.
    Source: Swain & Ballard 1991, "Color indexing"; the features of the exercises of cs231n are `hue` with 10 bins.
    """

    kind: ClassVar[str] = "color_histogram"
    bins: PositiveInt = Field(10, le=100_000, description="bins of equal width for each channel")
    channels: Literal["hue", "hsv", "rgb"] = Field("hue", description="what is counted")

    def output_shape(self, x: Shape) -> Shape:
        if x.rank != 3 or x[0] != 3:
            raise DataError(f"`color_histogram` counts the colours of images (3, height, width), and inputs are {x}")
        return Shape((self.bins * (1 if self.channels == "hue" else 3),))

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return concatenated(self._counted(np.asarray(c, np.float64)) for c in chunks(x))

    def _counted(self, x: Doubles) -> Doubles:
        """Return the histograms (n, bins) of images (n, 3, H, W)."""
        if x.size and not (x.min() >= 0 and x.max() <= 1):
            raise DataError(
                f"`color_histogram` takes values from 0 to 1, and here are some from {x.min():.3g} to {x.max():.3g}",
                hint="Leave out `standardize` and the like, or put them after it.",
            )
        shown = x if self.channels == "rgb" else hsv(x)[:, : 1 if self.channels == "hue" else 3]
        placed = np.minimum((shown * self.bins).astype(np.int64), self.bins - 1)
        placed += self.bins * np.arange(shown.shape[1])[:, None, None]
        width = self.bins * shown.shape[1]
        placed += width * np.arange(len(x))[:, None, None, None]
        counts = np.bincount(placed.ravel(), minlength=width * len(x)).reshape(len(x), width)
        shares: Doubles = counts / (x.shape[2] * x.shape[3])
        return shares


def hsv(x: Doubles) -> Doubles:
    """Return hue, saturation and value (n, 3, *size) of red, green and blue, all from 0 to 1.

    Source: Smith 1978, "Color gamut transform pairs".
    """
    red, green, blue = np.moveaxis(x, 1, 0)
    top, low = x.max(1), x.min(1)
    spread = top - low
    divisor = np.where(spread > 0, spread, 1.0)
    hue = np.where(
        top == red,
        ((green - blue) / divisor) % 6,
        np.where(top == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    saturation = np.where(top > 0, spread / np.where(top > 0, top, 1.0), 0.0)
    return np.stack([np.where(spread > 0, hue / 6, 0.0), saturation, top], 1)
