"""Geometric warps: rotation, translation, shear, scaling and elastic deformation. Consecutive ones are one
resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ..lazy import F, torch
from .base import Moving, coordinates, uniform
from .ranges import NotNegative, Positive, Range, Unit, Width, ordered, symmetric_range
from .smooth import smoothing

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Move

Degrees = NotNegative | Annotated[Range[float], ordered("degrees")]
Slant = NotNegative | Annotated[list[float], Field(min_length=2, max_length=4), ordered("shear")]
Shares = Unit | Range[Unit]
Factors = Annotated[Range[Positive], ordered("factor")]
TURN = "in degrees, counter-clockwise: from minus this to this, or [least, largest]"
MOVE = "largest way as a part of the size: one number, or [horizontal, vertical]"
SLANT = "in degrees: horizontally from minus this to this; [least, largest]; or two such pairs, the second vertical"


class Warp(Moving):
    """Base class of warps: each output position samples the picture at another position."""

    interpolation: Literal["nearest", "bilinear"] = Field(
        "bilinear", description="between positions; targets that are classes are always taken from the nearest"
    )
    fill: float = Field(0.0, description="value of positions that look beyond the border")

    @classmethod
    def first_field(cls) -> str | None:
        return next(iter(cls.model_fields.keys() - Warp.model_fields.keys()), None)

    def matrix(self, x: Tensor) -> Tensor | None:
        """Return the matrices (N, 3, 3) from output to input positions, (horizontal, vertical, 1) from the
        centre; or None.
        """
        return None

    def field(self, x: Tensor) -> Tensor | None:
        """Return displacements (N, H, W, 2) of the sampled positions, horizontal first; or None."""
        return None

    def draw(self, x: Tensor) -> Move:
        return combined_move([self], x)


class Rotate(Warp):
    """Rotate each picture around its centre by an angle uniform in `degrees`.

    Shapes: (C, H, W) -> (C, H, W); corners that come in from outside are `fill`.
    Source: torchvision: RandomRotation, whose interpolation is nearest where it is not given.
    """

    kind: ClassVar[str] = "rotate"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    degrees: Degrees = Field(description=f"how far, {TURN}")

    @classmethod
    def first_field(cls) -> str:
        return "degrees"

    def matrix(self, x: Tensor) -> Tensor:
        return affine(x, degrees=self.degrees)


class Translate(Warp):
    """Move each example by a random whole number of positions, uniform on each axis.

    Shapes: (C, *size) -> (C, *size) of signals and pictures; what comes in from outside is `fill`.
    Source: the `translate` of torchvision's RandomAffine.
    """

    kind: ClassVar[str] = "translate"
    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    translate: Shares = Field(description=MOVE)

    @classmethod
    def first_field(cls) -> str:
        return "translate"

    def matrix(self, x: Tensor) -> Tensor:
        return affine(x, translate=self.translate)


class Shear(Warp):
    """Shear each picture by an angle uniform in `shear`.

    Shapes: (C, H, W) -> (C, H, W); what comes in from outside is `fill`.
    Source: the `shear` of torchvision's RandomAffine.
    """

    kind: ClassVar[str] = "shear"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    shear: Slant = Field(description=f"how far, {SLANT}")

    @classmethod
    def first_field(cls) -> str:
        return "shear"

    def matrix(self, x: Tensor) -> Tensor:
        return affine(x, shear=self.shear)


class Scale(Warp):
    """Scale each example around its centre by a factor uniform in `factor`; above 1 it gets larger.

    Shapes: (C, *size) -> (C, *size) of signals, which are stretched in time, and pictures.
    Source: the `scale` of torchvision's RandomAffine.
    """

    kind: ClassVar[str] = "scale"
    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    factor: Factors = Field(description="[least, largest]")

    @classmethod
    def first_field(cls) -> str:
        return "factor"

    def matrix(self, x: Tensor) -> Tensor:
        return affine(x, factor=self.factor)


class Affine(Warp):
    """Shear, scale, rotate and move each picture at random, in this order.

    Shapes: (C, H, W) -> (C, H, W); what comes in from outside is `fill`.
    Source: torchvision: RandomAffine, which turns clockwise and takes the nearest position where not told otherwise.
    """

    kind: ClassVar[str] = "affine"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    degrees: Degrees = Field(description=f"how far it is turned, {TURN}")
    translate: Shares | None = Field(None, description=MOVE)
    scale: Factors | None = Field(None, description="[least, largest] factor")
    shear: Slant | None = Field(None, description=f"how far it is slanted, {SLANT}")

    @classmethod
    def first_field(cls) -> str:
        return "degrees"

    def matrix(self, x: Tensor) -> Tensor:
        return affine(x, self.degrees, self.translate, self.scale, self.shear)


class Elastic(Warp):
    """Displace each position by a smooth random field: uniform from -1 to 1, blurred, times `alpha`.

    Shapes: (C, H, W) -> (C, H, W); what comes in from outside is `fill`.
    Cost: a matrix product of H x H and W x W for each picture and direction.
    Source: Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks applied to visual
    document analysis", section 2, whose best values for digits of 29 x 29 are the defaults. torchvision:
    ElasticTransform, whose alpha counts half pixels and is 50, and whose sigma is 5.
    """

    kind: ClassVar[str] = "elastic"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    alpha: NotNegative = Field(34.0, description="what the blurred ways are multiplied by, in pixels")
    sigma: Width = Field(4.0, description="standard deviation of the blur, in pixels")

    @classmethod
    def first_field(cls) -> str:
        return "alpha"

    def field(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        ways = uniform(x, (-1, 1), 2, height, width)
        down, across = (smoothing(n, self.sigma, x.device) for n in (height, width))
        return (down @ ways @ across.mT * self.alpha).movedim(1, -1)


def affine(
    x: Tensor,
    degrees: float | list[float] = 0.0,
    translate: float | list[float] | None = None,
    factor: list[float] | None = None,
    shear: float | list[float] | None = None,
) -> Tensor:
    """Return the matrices (N, 3, 3) from output to input positions of pictures (N, C, H, W) sheared, scaled, rotated
    and moved.

    It is the inverse of [R S | t], with R S in closed form: its determinant is the square of the factor.
    """
    slants = shear if isinstance(shear, list) else [-(shear or 0.0), shear or 0.0]
    turn, across, down = (
        torch.deg2rad(uniform(x, pair))
        for pair in (symmetric_range(degrees), (slants[0], slants[1]), [*slants, 0.0, 0.0][2:4])
    )
    turn = -turn  # rows count downwards
    size = uniform(x, factor) if factor else torch.ones_like(turn)
    a = (turn - down).cos() / down.cos()
    b = -a * across.tan() - turn.sin()
    c = (turn - down).sin() / down.cos()
    d = -c * across.tan() + turn.cos()
    shares = translate if isinstance(translate, list) else [translate or 0.0] * 2
    right, below = (
        (uniform(x, (-1, 1)) * (share * n)).round()
        for share, n in zip(shares, (x.shape[-1], x.shape[-2]), strict=True)
    )
    inverse = torch.stack([d / size, -b / size, -c / size, a / size], 1).view(-1, 2, 2)
    moved = -(inverse @ torch.stack([right, below], 1)[:, :, None])
    last = torch.eye(3, device=x.device)[2:].expand(len(x), 1, 3)
    return torch.cat([torch.cat([inverse, moved], 2), last], 1)


def can_combine(first: Warp, then: Warp) -> bool:
    """Whether two consecutive warps can be one resampling: the first must be affine."""
    return type(first).field is Warp.field and first.model_dump(include=set(Warp.model_fields)) == then.model_dump(
        include=set(Warp.model_fields)
    )


def combined_move(warps: Sequence[Warp], x: Tensor) -> Move:
    """Draw several warps of a batch and combine them into one resampling; only the last may have a field."""
    flat = x.dim() == 3
    picture = x.unsqueeze(2) if flat else x
    matrices = [matrix for warp in warps if (matrix := warp.matrix(picture)) is not None]
    grid = sampling_grid(picture, reduce(torch.matmul, matrices) if matrices else None, warps[-1].field(picture))

    def move(t: Tensor, fill: float) -> Tensor:
        mode = warps[0].interpolation if t.is_floating_point() else "nearest"
        values = (t.unsqueeze(2) if flat else t).to(grid.dtype)
        # grid_sample pads with zeros only: the fill is subtracted before it and added after it
        found = F.grid_sample(values - fill if fill else values, grid, mode, "zeros", align_corners=False)
        found = (found + fill if fill else found).to(t.dtype)
        return found.squeeze(2) if flat else found

    return move


def sampling_grid(x: Tensor, matrix: Tensor | None, field: Tensor | None) -> Tensor:
    """Return the coordinates (N, H, W, 2) at which grid_sample samples."""
    height, width = x.shape[2:]
    rows, columns = (torch.arange(n, device=x.device) - (n - 1) / 2 for n in (height, width))
    places = coordinates(columns[None, :], rows[:, None])
    if field is not None:
        places = places + field
    if matrix is not None:
        places = places.expand(len(x), -1, -1, -1).reshape(len(x), -1, 2)
        places = torch.baddbmm(matrix[:, None, :2, 2], places, matrix[:, :2, :2].mT).view(len(x), height, width, 2)
    # With align_corners=False, -1 and 1 are the outer edges of the border pixels, not their centres
    across, down = places.unbind(-1)
    return torch.stack([across / (width / 2), down / (height / 2)], -1).expand(len(x), -1, -1, -1)
