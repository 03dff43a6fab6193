"""Bags of visual words."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from .base import Preprocess
from .sums import concatenated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..base import Floats
    from .base import Statistics
    from .sums import Doubles

SMALLEST_DEVIATION = 1e-3
"""Least standard deviation that a patch is divided by: flat patches stay flat."""
VALUES = 2**24
"""Values of patches that are in memory at once."""


class VisualWords(Preprocess):
    """Describe an image by how often its patches look like each of some typical patches: a bag of visual words.

    `patches` are drawn at random from the training images, each brought to mean 0 and standard deviation 1; k-means
    puts them into `words` clusters, whose centres are the codebook. An image is the share of its patches, `stride`
    pixels apart, that are nearest to each word.
    Shapes: (C, H, W) -> (words,).
    Errors: inputs that are no images; a patch larger than the image; fewer patches than words.
    Source: Csurka, Dance, Fan, Willamowski & Bray 2004, "Visual categorization with bags of keypoints"; patches as in
    Coates, Ng & Lee 2011, section 3.
    """

    kind: ClassVar[str] = "visual_words"
    words: PositiveInt = Field(100, le=100_000, description="size of the codebook")
    size: PositiveInt = Field(6, le=10_000, description="height and width of a patch")
    stride: PositiveInt = Field(2, le=10_000, description="pixels between two patches of an image")
    patches: PositiveInt = Field(10_000, le=10_000_000, description="drawn from the training images for the codebook")
    seed: NonNegativeInt = Field(0, description="of the draw, and of the start of k-means")

    def output_shape(self, x: Shape) -> Shape:
        if x.rank != 3:
            raise DataError(f"`visual_words` describes images (channels, height, width), and inputs are {x}")
        if self.size > min(x[1:]):
            message = f"a patch of `visual_words` has {self.size}x{self.size} pixels, and images are {x[1]}x{x[2]}"
            raise DataError(message, hint="Lower `size`.")
        if self.patches < self.words:
            message = f"`visual_words` asks for {self.words:,} words of {self.patches:,} patches"
            raise DataError(message, hint="Raise `patches`, or lower `words`.")
        return Shape((self.words,))

    def fit(self, x: Floats) -> Statistics:
        from scipy.cluster.vq import kmeans2

        rng = np.random.default_rng(self.seed)
        which, chosen = np.unique(rng.integers(0, len(x), self.patches), return_inverse=True)
        rows, columns = (rng.integers(0, size - self.size + 1, self.patches) for size in x.shape[2:])
        images = x[which]  # inputs that stay on disk are read by index alone
        places = zip(chosen, rows, columns, strict=True)
        taken = [images[i, :, r : r + self.size, c : c + self.size] for i, r, c in places]
        samples = _normalised(np.stack(taken).reshape(self.patches, -1))
        words, _ = kmeans2(samples, self.words, iter=20, minit="++", missing="warn", rng=rng)
        return {"words": words}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return concatenated(self._counted(c, found["words"]) for c in self._pieces(x))

    def _pieces(self, x: Floats) -> Iterator[Floats]:
        """Yield as many images at once as their patches have room in memory for."""
        places = prod((size - self.size) // self.stride + 1 for size in x.shape[2:])
        count = max(1, VALUES // (places * max(x.shape[1] * self.size**2, self.words)))
        return (x[i : i + count] for i in range(0, len(x), count))

    def _counted(self, x: Floats, words: Doubles) -> Doubles:
        """Return the share of each word (n, words) among the patches of images (n, C, H, W)."""
        seen = np.lib.stride_tricks.sliding_window_view(x, (self.size, self.size), (2, 3))
        seen = np.moveaxis(seen[:, :, :: self.stride, :: self.stride], 1, 3)
        patches = _normalised(seen.reshape(len(x) * seen.shape[1] * seen.shape[2], -1))
        nearest = (np.square(words).sum(1) - 2 * patches @ words.T).argmin(1).reshape(len(x), -1)
        placed = nearest + self.words * np.arange(len(x))[:, None]
        counts = np.bincount(placed.ravel(), minlength=self.words * len(x))
        shares: Doubles = counts.reshape(len(x), self.words) / nearest.shape[1]
        return shares


def _normalised(patches: Floats) -> Doubles:
    """Bring each patch (n, values) to mean 0 and standard deviation 1."""
    plain = np.asarray(patches, np.float64)
    plain = plain - plain.mean(1, keepdims=True)
    scaled: Doubles = plain / np.maximum(plain.std(1, keepdims=True), SMALLEST_DEVIATION)
    return scaled
