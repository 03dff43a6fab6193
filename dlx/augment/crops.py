"""Crops and shifts: positions move, values stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from ..errors import ShapeError
from ..lazy import F, torch
from ..shapes import Shape, by_x, per_axis
from .base import Moving

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Move

Sizes = PositiveInt | Annotated[list[PositiveInt], Field(min_length=1, max_length=3)]
Edge = Annotated[NonNegativeInt, Field(le=1000)]
Edges = Edge | Annotated[list[Edge], Field(min_length=1, max_length=3)]
Outside = Literal["constant", "reflect", "replicate"]


class Crop(Moving):
    """Crop a window at a uniformly random position of each example, after padding it on all sides.

    Shapes: (C, *size) -> (C, *`size`), its own size where `size` is not given; then without padding it is itself.
    The network sees the new size; at evaluation it is shown the middle, or what `test_time` says.
    Padding is of the values that the network sees: 0 is the mean of inputs that were centred.
    Errors: a piece larger than the padded example, or than the example at evaluation; reflecting more than there is.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 4.1; with padding 4 Lee et al. 2015, arXiv:1409.5185, and He
    et al. 2016, arXiv:1512.03385, section 4.2. torchvision: RandomCrop, whose `edge` is torch's `replicate`.
    """

    kind: ClassVar[str] = "crop"
    ranks: ClassVar[tuple[int, ...]] = (2, 3, 4)
    size: Sizes | None = Field(None, description="of the piece: one number, or one an axis; null is as it came in")
    padding: Edges = Field(0, description="positions added on both sides first: one number, or one an axis")
    padding_mode: Outside = Field("constant", description="what they hold: `fill`, a mirror image, or the border")
    fill: float = Field(0.0, description="value of padding that is constant")

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        size, padding = self._on(x)
        for wanted, there, more in zip(size, x.size, padding, strict=True):
            if wanted > there + 2 * more:
                with_padding = f", {by_x([n + 2 * p for n, p in zip(x.size, padding, strict=True)])} with its padding"
                raise ShapeError(
                    f"crop wants {by_x(size)} out of {by_x(x.size)}{with_padding if any(padding) else ''}",
                    hint="Make `size` smaller, or `padding` larger.",
                )
            if self.padding_mode == "reflect" and more >= there:
                raise ShapeError(
                    f"crop pads {by_x(x.size)} by {by_x(padding)}, and a mirror shows one less than there is",
                    hint="Pad less, or write `padding_mode: replicate`.",
                )
        return Shape((x.channels, *size), x.dtype)

    def draw(self, x: Tensor) -> Move:
        size, padding = self._on(Shape(x.shape[1:]))
        rooms = [
            there + 2 * more - wanted + 1 for there, more, wanted in zip(x.shape[2:], padding, size, strict=True)
        ]
        starts = [torch.randint(room, (len(x),), device=x.device) for room in rooms]
        return lambda t, fill: cut(padded(t, padding, self.padding_mode, fill), starts, size)

    def _on(self, x: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return size and padding on each axis of positions."""
        axes = len(x.size)
        size = x.size if self.size is None else per_axis(self.size, axes, "size")
        return size, per_axis(self.padding, axes, "padding")


class Shift(Moving):
    """Move each example by whole positions to one side, or not at all, all with equal probability.

    A picture goes left, right, up or down; a signal left or right. What comes in is `fill`.
    Shapes: (C, *size) -> (C, *size).
    Errors: a shift by the whole size and more; vectors, which have no positions.
    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 6, whose expanded MNIST has each picture as it is
    and moved by one pixel in four directions.
    """

    kind: ClassVar[str] = "shift"
    ranks: ClassVar[tuple[int, ...]] = (2, 3, 4)
    pixels: PositiveInt = Field(1, description="how far, in positions")
    fill: float = Field(0.0, description="value of the positions that come in")

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        if self.pixels >= min(x.size):
            raise ShapeError(f"shift by {self.pixels} leaves nothing of {by_x(x.size)}", hint="Take fewer `pixels`.")
        return x

    def draw(self, x: Tensor) -> Move:
        size, axes, by = tuple(x.shape[2:]), x.dim() - 2, self.pixels
        way = torch.randint(2 * axes + 1, (len(x),), device=x.device)  # 0 stays
        starts = [by + by * ((way == 2 * k + 1).long() - (way == 2 * k + 2).long()) for k in range(axes)]
        return lambda t, fill: cut(padded(t, (by,) * axes, "constant", fill), starts, size)


def padded(x: Tensor, padding: tuple[int, ...], mode: str, fill: float) -> Tensor:
    """Pad a batch (N, C, *size) by `padding` on both sides of each axis."""
    if not any(padding):
        return x
    sides = [n for n in reversed(padding) for _ in range(2)]
    if mode == "constant":
        return F.pad(x, sides, value=fill)
    # torch reflects and replicates floats only, and masks are integers
    return F.pad(x.float(), sides, mode=mode).to(x.dtype)


def cut(x: Tensor, starts: list[Tensor], size: tuple[int, ...]) -> Tensor:
    """Crop `size` from each example of (N, C, *size), at `starts` on each axis, (N,)."""
    windows = x
    for axis, wanted in enumerate(size, start=2):
        windows = windows.unfold(axis, wanted, 1)
    every = torch.arange(len(x), device=x.device)
    found: Tensor = windows[(every, slice(None), *starts)]  # type: ignore[index]  # a tuple of both is one too
    return found
