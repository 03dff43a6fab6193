"""Generated geometric figures, for classification, segmentation, localisation and detection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets, Split
from ..base import Field as DataField
from ..file_reading import check_memory
from ..label_noise import with_label_noise
from ..splits import assemble
from . import boxes
from .toys import Toy

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Floats, Labels
    from ..preprocess.sums import Doubles

    Mask = npt.NDArray[np.bool_]

Target = Literal["positions", "class", "heat_maps", "boxes"]
FIGURES = ("disc", "square", "triangle")
SQUARE = pi**0.5 / 2  # half the side of a square that has the area of a disc of radius 1
TRIANGLE = (4 * pi / 27**0.5) ** 0.5  # from the middle of an equilateral triangle of that area to a tip
HALF = (1.0, SQUARE, TRIANGLE * 3**0.5 / 2)  # half the width of each kind of radius 1
COLOURS = ((1.0, 0.35, 0.35), (0.2, 0.65, 0.2), (0.45, 0.55, 1.0))
"""Red, green and blue of each kind of figure, by `colours: by_kind`: of one lightness, 60 to 61.4 of CIE L*."""
SMALLEST, LARGEST = 0.1, 0.2  # radius of a disc, of the size of the picture


@dataclass(frozen=True)
class Figures:
    """Figures of n pictures, `most` in each, later ones over earlier ones: kinds, rows, columns, radii, colours."""

    present: Mask
    kind: Labels
    row: Doubles
    column: Doubles
    radius: Doubles
    colour: Doubles
    """(n, most, channels); the others are (n, most)."""


class Shapes(Toy):
    """Discs, squares and triangles on a dark ground with noise, for classification, segmentation or detection.

    Shapes: inputs (channels, size, size), figures from 0.5 to 1, the ground 0, before noise. Targets by `targets`:
        positions (size, size), 0 for the ground, 1 disc, 2 square, 3 triangle; classes 0 to 2 of the one figure;
        heat maps (3, size, size), one a kind of figure, with a Gaussian spot of height 1 on the centre of each;
        boxes (5 + 3, grid, grid): in the cell that the centre of a figure is in, 1, the centre's column and row from
        0 to 1 within the cell, the width and height of the figure as parts of the picture's, and 1 for its kind;
        of several, `targets: [positions, boxes]`, all of the same figures, each as the field of its name.
    All kinds have equal areas. The radius of a disc is uniform from 0.1 to 0.2 of `size`, centres are uniform where
        the
    figure does not leave the picture, and a picture has 1 to `most` figures, equally likely; a later one hides an
        earlier
    one. With boxes there are 0 to `most`, less those whose centre is in the cell of a later one or that overlap it by
    more than 0.3.
    Errors: several figures where there is one class; more pictures than there is memory for.
    Source: our own; heat maps as in Newell, Yang & Deng 2016, arXiv:1603.06937, section 3.1; boxes as in Redmon et
        al. 2016, arXiv:1506.02640, section 2.
    """

    kind: ClassVar[str] = "shapes"
    targets: Target | Annotated[list[Target], Field(min_length=2)] = Field(
        "positions", description="what is to be told; of several each is a field of its name"
    )
    size: PositiveInt = Field(32, le=10_000, ge=8, description="height and width, in pixels")
    channels: PositiveInt = Field(1, le=10_000, description="colours, each figure of one mixture of them")
    most: PositiveInt | None = Field(
        None, le=10_000, description="figures in a picture at most; null: 3, or 1 for a class"
    )
    colours: Literal["any", "by_kind"] = Field(
        "any", description="of figures: any mixture; or red discs, green squares and blue triangles"
    )
    noise: NonNegativeFloat = Field(0.1, description="standard deviation of what is added to each value")
    spot: PositiveFloat = Field(1.5, description="standard deviation of a spot in a heat map, in pixels")
    grid: PositiveInt = Field(4, le=10_000, description="cells on each axis, for boxes")

    source: ClassVar[str] = "drawn figures"

    @model_validator(mode="after")
    def _one_class(self) -> Self:
        if twice := [name for name in self.named if self.named.count(name) > 1]:
            raise ValueError(f"`targets` has {twice[0]} twice: give each once")
        if "class" in self.named and (self.most or 1) > 1:
            raise ValueError(f"a picture has one class, and `most` is {self.most} figures: leave it out")
        if "grid" in self.model_fields_set and "boxes" not in self.named:
            raise ValueError(f"`grid` is for `targets: boxes`, and they are {', '.join(self.named)}: leave it out")
        if self.colours == "by_kind" and self.channels != 3:
            raise ValueError(f"`colours: by_kind` is red, green or blue, and `channels` is {self.channels}: write 3")
        return self

    @property
    def named(self) -> list[Target]:
        """The names of the targets, in their order."""
        return [self.targets] if isinstance(self.targets, str) else self.targets

    @property
    def inputs(self) -> int:
        return self.channels * self.size**2

    @property
    def outputs(self) -> int:
        return len(FIGURES)

    def facts(self) -> Facts:
        picture = Shape((self.channels, self.size, self.size))
        first, *others = self.named
        more: dict[str, DataField] = {name: self._field(name) for name in others}
        one = self._field(first)
        shape = one.shape if one.classes is None or len(one.shape) else None
        return Facts(
            picture,
            one.classes,
            shape,
            more=more,
            target_name=first if others else "target",
            class_names=one.names if others else (),
            examples=self.train,
        )

    def _field(self, target: Target) -> DataField:
        """Return the field of a target."""
        size = (self.size, self.size)
        if target == "class":
            return DataField(Shape((), "int"), "target", len(FIGURES), FIGURES)
        if target == "positions":
            return DataField(Shape(size, "int"), "target", 1 + len(FIGURES), ("ground", *FIGURES))
        channels, size = (5 + len(FIGURES), (self.grid, self.grid)) if target == "boxes" else (len(FIGURES), size)
        return DataField(Shape((channels, *size)), "target")

    def load(self) -> Sets:
        check_memory(
            self.train + (self.valid or 0) + (self.test or 0),
            self.facts().input,
            "ask for fewer, or a smaller `size`",
        )
        parts = [self._part(n or 0, np.random.default_rng([self.seed, stream])) for n, stream in self._streams()]
        fields = self.facts().fields if len(self.named) > 1 else None
        names = self._field(self.named[0]).names
        sets = assemble(parts, self.standardize, f"{self.source}, seed {self.seed}", names, fields=fields)
        return with_label_noise(sets, self)

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        if not n:
            return None
        figures = self._figures(n, rng)
        bounding_boxes = boxes.bounding_boxes(figures, HALF, TRIANGLE)
        if "boxes" in self.named:
            figures = replace(
                figures, present=boxes.without_overlaps(bounding_boxes, figures.present, self.size, self.grid)
            )
        x, labels = self._render(figures)
        x += self.noise * rng.standard_normal(x.shape, np.float32)
        found: dict[str, Labels] = {"positions": labels, "class": figures.kind[:, 0]}
        if "heat_maps" in self.named:
            found["heat_maps"] = self._heat_maps(figures)
        if "boxes" in self.named:
            found["boxes"] = boxes.grid_targets(bounding_boxes, figures, self.size, self.grid, len(FIGURES))
        first, *others = self.named
        return Split(x, found[first], more={name: found[name] for name in others})

    def _figures(self, n: int, rng: np.random.Generator) -> Figures:
        most = self.most or (1 if "class" in self.named else 3)
        kind = rng.permuted(np.arange(n * most) % len(FIGURES)).reshape(n, most)
        radius = self.size * rng.uniform(SMALLEST, LARGEST, (n, most))
        room = self.size - 1 - 2 * TRIANGLE * radius
        row, column = (TRIANGLE * radius + room * rng.uniform(size=(n, most)) for _ in range(2))
        fewest = 0 if "boxes" in self.named and "class" not in self.named else 1
        present = np.arange(most) < rng.integers(fewest, most, (n, 1), endpoint=True)
        bright = rng.uniform(0.5, 1, (n, most, 1 if self.colours == "by_kind" else self.channels))
        colour = bright * np.array(COLOURS)[kind] if self.colours == "by_kind" else bright
        return Figures(present, kind, row, column, radius, colour)

    def _render(self, figures: Figures) -> tuple[Floats, Labels]:
        """Return pictures without noise, and the label of each pixel."""
        n, most = figures.kind.shape
        x = np.zeros((n, self.channels, self.size, self.size), np.float32)
        labels = np.zeros((n, self.size, self.size), np.int64)
        for i in range(most):
            rows, columns = self._offsets(figures, i)
            covered = (
                inside(figures.kind[:, i], rows, columns, figures.radius[:, i]) & figures.present[:, i, None, None]
            )
            labels = np.where(covered, figures.kind[:, i, None, None] + 1, labels)
            colours = figures.colour[:, i, :, None, None].astype(np.float32)
            x = np.where(covered[:, None], colours, x)
        return x, labels

    def _heat_maps(self, figures: Figures) -> Floats:
        n, most = figures.kind.shape
        maps = np.zeros((n, len(FIGURES), self.size, self.size), np.float32)
        every = np.arange(n)
        for i in range(most):
            rows, columns = self._offsets(figures, i)
            spots = np.exp(-(rows**2 + columns**2) / (2 * self.spot**2)) * figures.present[:, i, None, None]
            kind = figures.kind[:, i]
            maps[every, kind] = np.maximum(maps[every, kind], spots.astype(np.float32))
        return maps

    def _offsets(self, figures: Figures, i: int) -> tuple[Doubles, Doubles]:
        """Return the distances of rows (n, size, 1) and columns (n, 1, size) from the centre of figure i."""
        steps = np.arange(self.size, dtype=np.float64)
        return (steps - figures.row[:, i, None])[:, :, None], (steps - figures.column[:, i, None])[:, None, :]


def inside(kind: Labels, rows: Doubles, columns: Doubles, radius: Doubles) -> Mask:
    """Return the mask (n, size, size) of the pixels that a figure covers, from the offsets to its centre."""
    r = radius[:, None, None]
    disc = rows**2 + columns**2 <= r**2
    square = np.maximum(np.abs(rows), np.abs(columns)) <= SQUARE * r
    tip = TRIANGLE * r
    triangle = (rows <= tip / 2) & (rows >= 3**0.5 * np.abs(columns) - tip)
    chosen: Mask = np.select([k == kind[:, None, None] for k in (0, 1, 2)], [disc, square, triangle])
    return chosen
