"""Histograms of oriented gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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

EPSILON = 1e-5
"""Added to the squared length of a block, as scikit-image has it."""
CLIP = 0.2


class HoG(Preprocess):
    """Describe an image by the directions of its edges: histograms of oriented gradients.

    Shapes: (C, H, W) -> (values,), with a histogram of `orientations` for each cell of each block; blocks overlap, a
    cell apart. Of several channels the one with the largest gradient counts at each pixel. The gradient is the
    difference of the two neighbours, 0 at the edge; each block is divided by its length, cut off at 0.2, and divided
    again (L2-Hys). Pixels that fill no cell are left out. The figures are those of skimage.feature.hog.
    Errors: inputs that are no images; an image smaller than a block.
    Source: Dalal & Triggs 2005, "Histograms of oriented gradients for human detection".
    """

    kind: ClassVar[str] = "hog"
    pixels_per_cell: PositiveInt = Field(8, le=10_000, description="height and width of a cell")
    cells_per_block: PositiveInt = Field(
        3, le=10_000, description="cells along a side of a block, which is normalised as one"
    )
    orientations: PositiveInt = Field(9, le=10_000, description="bins of the direction, over 180 degrees")

    def output_shape(self, x: Shape) -> Shape:
        if x.rank != 3:
            raise DataError(f"`hog` describes images (channels, height, width), and inputs are {x}")
        rows, columns = (size // self.pixels_per_cell - self.cells_per_block + 1 for size in x[1:])
        if rows < 1 or columns < 1:
            side = self.pixels_per_cell * self.cells_per_block
            raise DataError(
                f"a block of `hog` has {side}x{side} pixels, {self.cells_per_block}x{self.cells_per_block} cells of "
                f"{self.pixels_per_cell}, and images are {x[1]}x{x[2]}",
                hint="Lower `pixels_per_cell` or `cells_per_block`.",
            )
        return Shape((rows * columns * self.cells_per_block**2 * self.orientations,))

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return concatenated(self._described(np.asarray(c, np.float64)) for c in chunks(x))

    def _described(self, x: Doubles) -> Doubles:
        """Return the descriptors (n, values) of images (n, C, H, W)."""
        down, across = np.zeros_like(x), np.zeros_like(x)
        down[:, :, 1:-1] = x[:, :, 2:] - x[:, :, :-2]
        across[..., 1:-1] = x[..., 2:] - x[..., :-2]
        largest = np.hypot(down, across).argmax(1)[:, None]
        down, across = (np.take_along_axis(g, largest, 1)[:, 0] for g in (down, across))
        cells = self._histograms(np.hypot(down, across), np.rad2deg(np.arctan2(down, across)) % 180)
        side = self.cells_per_block
        blocks = np.lib.stride_tricks.sliding_window_view(cells, (side, side), (1, 2))
        blocks = np.moveaxis(blocks, 3, -1).reshape(*blocks.shape[:3], -1)  # (n, rows, columns, block values)
        blocks = np.minimum(_unit(blocks), CLIP)
        return np.reshape(_unit(blocks), (len(x), -1))

    def _histograms(self, strength: Doubles, direction: Doubles) -> Doubles:
        """Return the histogram of each cell (n, rows, columns, orientations), a mean over its pixels."""
        side = self.pixels_per_cell
        rows, columns = (size // side for size in strength.shape[1:])
        cut = (slice(None), slice(rows * side), slice(columns * side))
        shape = (len(strength), rows, side, columns, side)
        bins = np.minimum((direction[cut] * self.orientations / 180).astype(np.int64), self.orientations - 1)
        each = [np.where(bins == i, strength[cut], 0.0).reshape(shape).mean((2, 4)) for i in range(self.orientations)]
        return np.stack(each, -1)


def _unit(blocks: Doubles) -> Doubles:
    unit: Doubles = blocks / np.sqrt(np.square(blocks).sum(-1, keepdims=True) + EPSILON**2)
    return unit
