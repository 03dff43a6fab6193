"""Crops of random size, resized to one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ..errors import ShapeError
from ..lazy import F, torch
from ..shapes import Shape, by_x, per_axis
from .base import Moving, coordinates
from .crops import Sizes
from .erase import random_boxes, random_offset
from .ranges import Positive, Range, Unit, ordered

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Move


class ResizedCrop(Moving):
    """Crop a window of random area, aspect ratio and position from each picture, and resize it.

    Its area is uniform in `scale`, as a part of the picture, its width over height log-uniform in `ratio`, its place
    uniform; a piece that does not fit is drawn again, ten times at most, and then it is all of the picture.
    Shapes: (C, H, W) -> (C, *`size`), its own size where `size` is not given.
    The network sees the new size; at evaluation it is shown the middle, or what `test_time` says.
    Errors: a size larger than the picture, of which there is no middle at evaluation.
    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6. torchvision: RandomResizedCrop, which keeps the ratio of
    the last resort in bounds, and smooths before it makes smaller.
    """

    kind: ClassVar[str] = "resized_crop"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    size: Sizes | None = Field(None, description="it is brought to: one number, or [height, width]; null is its own")
    scale: Annotated[Range[Unit], ordered("scale")] = Field([0.08, 1.0], description="least and largest area")
    ratio: Annotated[Range[Positive], ordered("ratio")] = Field(
        [3 / 4, 4 / 3], description="least and largest width over height"
    )
    interpolation: Literal["nearest", "bilinear"] = Field(
        "bilinear", description="between pixels; targets that are classes are always taken from the nearest"
    )

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        size = x.size if self.size is None else per_axis(self.size, 2, "size")
        if any(wanted > there for wanted, there in zip(size, x.size, strict=True)):
            raise ShapeError(
                f"resized_crop makes {by_x(size)} of {by_x(x.size)}, and the middle is shown at evaluation",
                hint="Make `size` smaller; `upsample` as the first layer makes pictures larger.",
            )
        return Shape((x.channels, *size), x.dtype)

    def draw(self, x: Tensor) -> Move:
        height, width = x.shape[2:]
        size = (height, width) if self.size is None else per_axis(self.size, 2, "size")
        h, w, fits = random_boxes(x, self.scale, [1 / self.ratio[1], 1 / self.ratio[0]], strictly=False)
        h, w = torch.where(fits, h, height), torch.where(fits, w, width)
        top, left = random_offset(x, height - h), random_offset(x, width - w)

        def move(t: Tensor, _: float) -> Tensor:
            mode = self.interpolation if t.is_floating_point() else "nearest"
            rows, columns = (
                _sample_positions(first, length, wanted, there, mode)
                for first, length, wanted, there in zip((top, left), (h, w), size, (height, width), strict=True)
            )
            grid = coordinates(columns[:, None, :], rows[:, :, None])
            return F.grid_sample(t.to(grid.dtype), grid, mode, "border", align_corners=False).to(t.dtype)

        return move


def _sample_positions(first: Tensor, length: Tensor, size: int, there: int, mode: str) -> Tensor:
    """Return the coordinates at which `size` output positions sample their window, as grid_sample counts: (N,
    size).
    """
    step = (length / size)[:, None]
    if mode == "nearest":
        at = ((torch.arange(size, device=first.device)) * step).floor()
    else:
        at = (torch.arange(size, device=first.device) + 0.5) * step - 0.5
    at = torch.minimum(at.clamp_min(0), length[:, None] - 1) + first[:, None]
    return (2 * at + 1) / there - 1
