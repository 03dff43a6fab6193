"""Random erasing of parts of a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..lazy import torch
from ..shapes import Shape, by_x, per_axis
from .base import Augmentation, Probability, bernoulli_mask, uniform
from .crops import Sizes
from .ranges import Positive, Range, Unit, ordered

if TYPE_CHECKING:
    from torch import Tensor

TRIES = 10
"""Number of boxes drawn for an example until one fits, as in torchvision."""


class Cutout(Augmentation):
    """Set patches of each example to 0, in all channels, around random positions.

    The middle of a patch is any position, so that at the border less is cut. It is the layer of that name, at work
    before the network: 0 is the mean of inputs that were centred, as in the paper.
    Shapes: (C, *size) -> (C, *size).
    Errors: a patch larger than the input; vectors, which have no positions.
    Source: DeVries & Taylor 2017, arXiv:1708.04552, section 3: a length of 16 for CIFAR-10, 8 for CIFAR-100.
    """

    kind: ClassVar[str] = "cutout"
    ranks: ClassVar[tuple[int, ...]] = (2, 3, 4)
    length: Sizes = Field(description="positions that a patch has on each axis")
    holes: PositiveInt = Field(1, description="patches in each example; they may overlap")

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        length = per_axis(self.length, len(x.size), "length")
        if any(one > there for one, there in zip(length, x.size, strict=True)):
            raise ShapeError(
                f"a patch of {by_x(length)} is larger than the input {by_x(x.size)}", hint="Take a smaller `length`."
            )
        return x

    def apply(self, x: Tensor) -> Tensor:
        from ..modules.noise import Cutout as Built

        hidden: Tensor = Built(per_axis(self.length, x.dim() - 2, "length"), self.holes)(x)
        return hidden


class RandomErasing(Augmentation):
    """Fill a rectangle of each example, with probability `p`, in all channels.

    Its area is uniform in `scale`, as a part of the picture, its height over width log-uniform in `ratio`, its place
    uniform; a box that does not fit is drawn again, ten times at most, and then the example is left.
    Shapes: (C, H, W) -> (C, H, W).
    Errors: ranges that run backwards.
    Source: Zhong et al. 2020, arXiv:1708.04896, algorithm 1. torchvision: RandomErasing.
    """

    kind: ClassVar[str] = "random_erasing"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    p: Probability = Field(0.5, description="probability for each example")
    scale: Annotated[Range[Unit], ordered("scale")] = Field([0.02, 0.33], description="least and largest area")
    ratio: Annotated[Range[Positive], ordered("ratio")] = Field(
        [0.3, 3.3], description="least and largest height over width"
    )
    value: float | Literal["random"] = Field(
        0.0, description="what a rectangle holds; random: normal noise of mean 0 and deviation 1"
    )

    def apply(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        h, w, fits = random_boxes(x, self.scale, self.ratio, strictly=True)
        rows = random_interval(x, h, height)[:, None, :, None]
        columns = random_interval(x, w, width)[:, None, None, :]
        hidden = rows & columns & bernoulli_mask(x, self.p) & fits[:, None, None, None]
        return (
            torch.where(hidden, torch.randn_like(x), x)
            if self.value == "random"
            else x.masked_fill(hidden, self.value)
        )


def random_boxes(x: Tensor, scale: list[float], ratio: list[float], strictly: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Draw height and width of a box in each picture of (N, C, H, W); the third tensor is whether one was found. All
    (N,).

    `ratio` is height over width. The first of ten boxes that fits is taken; `strictly` smaller than the picture or
    not.
    """
    height, width = x.shape[2:]
    area = uniform(x, scale, TRIES) * (height * width)
    turned = uniform(x, [math.log(end) for end in ratio], TRIES).exp()
    h, w = (area * turned).sqrt().round().long(), (area / turned).sqrt().round().long()
    fits = (h < height) & (w < width) if strictly else (h > 0) & (w > 0) & (h <= height) & (w <= width)
    first = fits.int().argmax(1, keepdim=True)
    return h.gather(1, first)[:, 0], w.gather(1, first)[:, 0], fits.any(1)


def random_interval(x: Tensor, length: Tensor, size: int) -> Tensor:
    """Draw an interval of `length` on an axis of `size`, as a mask (N, size); its position is uniform."""
    start = random_offset(x, size - length)
    positions = torch.arange(size, device=x.device)
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])


def random_offset(x: Tensor, room: Tensor) -> Tensor:
    """Draw a uniform integer from 0 to `room` for each example."""
    return (torch.rand(len(x), device=x.device, dtype=torch.float64) * (room + 1)).long()
