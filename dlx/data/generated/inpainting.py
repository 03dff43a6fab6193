"""Generated pictures with a hole, which is to be filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split, facts_of_fields
from ..base import Field as DataField
from ..file_reading import check_memory
from ..splits import assemble

if TYPE_CHECKING:
    from ..base import Floats


class Inpainting(Dataset):
    """Pictures of overlaid plane waves with a square hole, which the rest of the picture determines.

    A picture is the mean of `waves` waves of random direction, phase and length, from half the size of the picture
    to twice that. The hole is anywhere inside; in it is 0, the mean of all pictures, or the same place of another
    picture.

    Shapes: inputs image (1, size, size), with the hole, and mask (1, size, size), 1 where the picture is known and 0
        in the hole; target picture (1, size, size), the whole one, from -1 to 1.
    Errors: a hole that is as large as the picture; more pictures than there is memory for.
    Source: the task as in Liu et al. 2018, arXiv:1804.07723; the pictures are our own.
    """

    kind: ClassVar[str] = "inpainting"
    train: PositiveInt = Field(1000, description="pictures to train on")
    valid: NonNegativeInt | None = Field(None, description="pictures held out for validation")
    test: NonNegativeInt | None = Field(200, description="pictures held out for the test")
    size: PositiveInt = Field(16, le=10_000, ge=4, description="height and width, in pixels")
    hole: PositiveInt = Field(6, le=10_000, description="height and width of the hole, in pixels")
    waves: PositiveInt = Field(2, le=10_000, description="waves of a picture")
    fill: Literal["zeros", "other"] = Field("zeros", description="in the hole: 0, or a part of another picture")
    seed: NonNegativeInt = Field(0, description="of the pictures")

    source: ClassVar[str] = "generated waves with a hole"

    @model_validator(mode="after")
    def _hole_is_smaller(self) -> Self:
        if self.hole >= self.size:
            raise ValueError(f"`hole` {self.hole} leaves nothing of a picture of `size` {self.size}: make it smaller")
        return self

    def facts(self) -> Facts:
        return facts_of_fields(self._fields(), examples=self.train)

    def _fields(self) -> Mapping[str, DataField]:
        picture = Shape((1, self.size, self.size))
        return {"image": DataField(picture), "mask": DataField(picture), "picture": DataField(picture, "target")}

    def load(self) -> Sets:
        counts = self.train, self.valid or 0, self.test or 0
        check_memory(sum(counts), Shape((3, self.size, self.size)), "ask for fewer, or a smaller `size`")
        parts = [
            self._part(n, np.random.default_rng([self.seed, stream])) if n else None
            for stream, n in enumerate(counts)
        ]
        return assemble(parts, "none", f"{self.source}, seed {self.seed}", fields=self._fields())

    def _part(self, n: int, rng: np.random.Generator) -> Split:
        picture, mask = self._pictures(n, rng), self._masks(n, rng)
        filling = self._pictures(n, rng) if self.fill == "other" else np.zeros_like(picture)
        return Split(np.where(mask == 1, picture, filling), picture, more={"mask": mask})

    def _pictures(self, n: int, rng: np.random.Generator) -> Floats:
        angle, phase = rng.uniform(0, 2 * np.pi, (2, n, self.waves, 1, 1))
        length = self.size * rng.uniform(0.5, 2, (n, self.waves, 1, 1))
        row, column = np.arange(self.size)[:, None], np.arange(self.size)
        way = np.cos(angle) * column + np.sin(angle) * row
        each = np.sin(2 * np.pi * way / length + phase)
        pictures: Floats = each.mean(1, keepdims=True).astype(np.float32)
        return pictures

    def _masks(self, n: int, rng: np.random.Generator) -> Floats:
        row, column = rng.integers(0, self.size - self.hole, (2, n, 1), endpoint=True)
        at = np.arange(self.size)
        rows, columns = ((at >= first) & (at < first + self.hole) for first in (row, column))
        masks: Floats = (~(rows[:, None, :, None] & columns[:, None, None, :])).astype(np.float32)
        return masks
