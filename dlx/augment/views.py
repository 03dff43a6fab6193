"""Views of an example for test-time augmentation, whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..errors import ShapeError
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


def middle(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the centre crop of a batch (N, C, *there): (N, C, *size)."""
    for axis, (there, wanted) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        if there != wanted:
            x = x.narrow(axis, round((there - wanted) / 2), wanted)
    return x
