"""Views of an example for test-time augmentation, whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveFloat

from ..errors import ShapeError
from ..lazy import F
from ..shapes import Shape, by_x, per_axis
from .base import View
from .crops import Edges, padded

if TYPE_CHECKING:
    from torch import Tensor


class HorizontalFlip(View):
    """The example, or its centre crop, and its mirror image.

    Shapes: pictures and signals. Averaged: probabilities where the loss has them, else outputs.
    Errors: vectors, which have no positions. Source: Simonyan & Zisserman 2014, arXiv:1409.1556, section 3.2.
    """

    kind: ClassVar[str] = "horizontal_flip"

    def check(self, x: Shape, size: tuple[int, ...]) -> None:
        if x.rank < 2:
            raise ShapeError(f"horizontal_flip mirrors positions, and the data gives {x}", hint="Leave it out.")

    def of(self, x: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        whole = middle(x, size)
        yield from (whole, whole.flip(-1))


class FiveCrop(View):
    """The four corner crops and the centre crop, each of the network's input size.

    Shapes: pictures larger than what the network takes, `padding` included.
    Averaged: probabilities where the loss has them (softmax, sigmoid), else outputs.
    Errors: pictures that are as large as what the network takes, of which all corners are the same.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 4.1. torchvision: FiveCrop.
    """

    kind: ClassVar[str] = "five_crop"
    padding: Edges = Field(0, description="zeros added on both sides first: one number, or one an axis")

    def check(self, x: Shape, size: tuple[int, ...]) -> None:
        if x.rank != 3:
            raise ShapeError(f"{self.kind} takes corners of pictures, and the data gives {x}", hint="Leave it out.")
        there = tuple(n + 2 * p for n, p in zip(x.size, per_axis(self.padding, 2, "padding"), strict=True))
        if there == tuple(size):
            raise ShapeError(
                f"{self.kind} takes corners of {by_x(there)}, and the network takes {by_x(size)}: all are the same",
                hint="Train on smaller pieces, `augment: [{crop: 28}]`, or give it a `padding`.",
            )

    def of(self, x: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        x = padded(x, per_axis(self.padding, 2, "padding"), "constant", 0.0)
        (h, w), (height, width) = size, x.shape[2:]
        for top in (0, height - h):
            for left in (0, width - w):
                yield x[:, :, top : top + h, left : left + w]
        yield middle(x, size)


class TenCrop(FiveCrop):
    """The four corner crops, the centre crop, and the mirror images of these five: AlexNet's ten patches.

    Shapes: pictures larger than what the network takes, `padding` included.
    Averaged: probabilities where the loss has them (softmax, sigmoid), else outputs.
    Errors: pictures that are as large as what the network takes, of which all corners are the same.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 4.1. torchvision: TenCrop.
    """

    kind: ClassVar[str] = "ten_crop"

    def of(self, x: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        for view in super().of(x, size):
            yield from (view, view.flip(-1))


class MultiScale(View):
    """The ten crops of each picture in several sizes: 5 scales x 10 crops, each of the network's input size.

    A scale is the shorter side of the picture in shorter sides of what the network takes; the picture is resized to
    it, smoothed before it is made smaller. The defaults are the sides 224, 256, 384, 480 and 640 of a network of 224.

    Shapes: pictures. Averaged: probabilities where the loss has them (softmax, sigmoid), else outputs.
    Errors: a scale at which a side is shorter than what the network takes; no scale that leaves a margin.
    Source: He et al. 2015, arXiv:1512.03385, section 3.4; Simonyan & Zisserman 2014, arXiv:1409.1556, section 4.2.
    torchvision: none; Resize and TenCrop.
    """

    kind: ClassVar[str] = "multi_scale"
    scales: Annotated[list[PositiveFloat], Field(min_length=1)] = Field(
        [1.0, 1.143, 1.714, 2.143, 2.857], description="shorter sides, of that of the network's input"
    )
    padding: Edges = Field(0, description="zeros added on both sides of the resized picture")

    def check(self, x: Shape, size: tuple[int, ...]) -> None:
        if x.rank != 3:
            raise ShapeError(f"{self.kind} resizes pictures, and the data gives {x}", hint="Leave it out.")
        there = [self._there(x.size, size, scale) for scale in self.scales]
        for scale, (height, width) in zip(self.scales, there, strict=True):
            if height < size[0] or width < size[1]:
                raise ShapeError(
                    f"{self.kind} makes {by_x((height, width))} of {by_x(x.size)} by the scale {scale:g}, and the "
                    f"network takes {by_x(size)}",
                    hint="Leave out scales below 1; `padding` does not count.",
                )
        padding = per_axis(self.padding, 2, "padding")
        if not any(padding) and all(sides == tuple(size) for sides in there):
            raise ShapeError(
                f"{self.kind} takes corners of {by_x(size)}, and the network takes as much: all are the same",
                hint="Add a scale above 1.",
            )

    def of(self, x: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        crops = TenCrop(padding=self.padding)
        for scale in self.scales:
            there = self._there(tuple(x.shape[2:]), size, scale)
            resized = F.interpolate(x, there, mode="bilinear", antialias=True) if there != tuple(x.shape[2:]) else x
            yield from crops.of(resized, size)

    @staticmethod
    def _there(picture: tuple[int, ...], size: tuple[int, ...], scale: float) -> tuple[int, int]:
        """Return height and width of a resized picture."""
        shorter = min(picture)
        height, width = (max(1, round(n * scale * min(size) / shorter)) for n in picture)
        return height, width


def middle(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the centre crop of a batch (N, C, *there): (N, C, *size)."""
    for axis, (there, wanted) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        if there != wanted:
            x = x.narrow(axis, round((there - wanted) / 2), wanted)
    return x
