"""Generated pictures in two colourings, of which no two belong together, with the true partner of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split, facts_of_fields
from ..base import Field as DataField
from ..file_reading import check_memory
from ..splits import assemble

if TYPE_CHECKING:
    from ..base import Floats

COLOURS = {"a": ((-1.0, -0.6, 0.0), (1.0, 0.8, -0.6)), "b": ((0.9, 0.9, 0.9), (0.6, -0.9, -0.7))}
"""Background and foreground (red, green, blue) of each side: dark blue and yellow, near white and red."""


class Unpaired(Dataset):
    """Blots in two colourings: yellow on dark blue, and red on white. An example has one of each, of other blots.

    A picture has `blots` normal densities of one height at places of their own, cut off at 1, which mix the two
    colours of its side. So the colour of a pixel on one side follows from that on the other, and the partner of a
    picture is known. It is no input: it is there to measure what was learned without it.

    Shapes: inputs a and b (3, size, size), from -1 to 1; targets a_in_b and b_in_a (3, size, size).
    Errors: more pictures than there is memory for.
    Source: none.
    """

    kind: ClassVar[str] = "unpaired"
    source: ClassVar[str] = "generated pictures"
    train: PositiveInt = Field(1000, description="pictures of each side to train on")
    valid: NonNegativeInt | None = Field(None, description="pictures of each side held out for validation")
    test: NonNegativeInt | None = Field(200, description="pictures of each side held out for the test")
    size: PositiveInt = Field(8, le=10_000, ge=4, description="height and width, in pixels")
    blots: PositiveInt = Field(2, le=10_000, description="blots of a picture")
    seed: NonNegativeInt = Field(0, description="of the pictures")

    def facts(self) -> Facts:
        return facts_of_fields(self._fields(), examples=self.train)

    def _fields(self) -> Mapping[str, DataField]:
        picture = Shape((3, self.size, self.size))
        inputs = {name: DataField(picture) for name in ("a", "b")}
        return inputs | {name: DataField(picture, "target") for name in ("a_in_b", "b_in_a")}

    def load(self) -> Sets:
        counts = self.train, self.valid or 0, self.test or 0
        check_memory(sum(counts), Shape((12, self.size, self.size)), "ask for fewer, or a smaller `size`")
        parts = [
            self._part(n, np.random.default_rng([self.seed, stream])) if n else None
            for stream, n in enumerate(counts)
        ]
        return assemble(parts, "none", f"generated unpaired pictures, seed {self.seed}", fields=self._fields())

    def _part(self, n: int, rng: np.random.Generator) -> Split:
        first, second = self._amounts(n, rng), self._amounts(n, rng)
        a, b = coloured(first, "a"), coloured(second, "b")
        return Split(a, coloured(first, "b"), more={"b": b, "b_in_a": coloured(second, "a")})

    def _amounts(self, n: int, rng: np.random.Generator) -> Floats:
        """Return how much of the foreground there is in each pixel (n, size, size), from 0 to 1."""
        row, column = rng.uniform(0, self.size - 1, (2, n, self.blots, 1, 1))
        at = np.arange(self.size)
        away = (at[:, None] - row) ** 2 + (at - column) ** 2
        width = self.size * rng.uniform(0.1, 0.2, (n, self.blots, 1, 1))
        found: Floats = np.minimum(np.exp(-away / (2 * width**2)).sum(1), 1).astype(np.float32)
        return found


def coloured(amounts: Floats, side: str) -> Floats:
    """Return pictures (n, 3, size, size) of the amounts of foreground (n, size, size), in the colours of a side."""
    back, front = (np.array(one, np.float32)[:, None, None] for one in COLOURS[side])
    found: Floats = back + (front - back) * amounts[:, None]
    return found
