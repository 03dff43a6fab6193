"""Points in the plane with classes, whose decision boundaries can be plotted."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split
from ..label_noise import LabelNoiseField, with_label_noise
from ..splits import Standardize, assemble

if TYPE_CHECKING:
    from ..base import Labels
    from ..preprocess.sums import Doubles

SHARED = 3  # the stream of what all parts share; those of train, valid and test are 0, 1 and 2


class Toy(Dataset):
    """Base class of generated examples. Each part has its own random stream, so that its size leaves the others
    unchanged.
    """

    train: PositiveInt = Field(1000, description="examples to train on")
    valid: NonNegativeInt | None = Field(None, description="examples held out for validation")
    test: NonNegativeInt | None = Field(200, description="examples held out for the test")
    seed: NonNegativeInt = Field(0, description="of the examples")
    standardize: Standardize = "none"
    label_noise: LabelNoiseField = None

    source: ClassVar[str] = "generated points"

    def facts(self) -> Facts:
        return Facts(Shape((self.inputs,)), classes=self.outputs, examples=self.train)

    def load(self) -> Sets:
        parts = [self._part(n or 0, np.random.default_rng([self.seed, stream])) for n, stream in self._streams()]
        sets = assemble(parts, self.standardize, f"{self.source}: {self.kind}, seed {self.seed}")
        return with_label_noise(sets, self)

    @property
    def inputs(self) -> int:
        """Number of values of an example."""
        return 2

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return 2

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        """Draw an example (n, inputs) for each of the classes `y` (n,)."""
        raise TypeError(f"{type(self).__name__} has no points()")

    def _streams(self) -> zip[tuple[int | None, int]]:
        return zip((self.train, self.valid, self.test), count(), strict=False)

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        """Draw `n` examples in random order; the sizes of the classes differ by one at most."""
        if not n:
            return None
        y = rng.permutation(np.arange(n) % self.outputs)
        return Split(self.points(y, rng).astype(np.float32), y)


class Moons(Toy):
    """Two interleaving half circles; two classes that no line separates.

    Shapes: inputs (2,), targets 0 and 1. Class 0 is the upper half of the circle of radius 1 around (0, 0), class 1
    the lower half of that around (1, 0.5); angles are uniform.
    Errors: none of its own.
    Source: scikit-learn's `make_moons`, whose angles are evenly spaced.
    """

    kind: ClassVar[str] = "moons"
    noise: NonNegativeFloat = Field(0.1, description="standard deviation of what is added to each coordinate")

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        angle = rng.uniform(0, np.pi, len(y))
        upper = np.stack([np.cos(angle), np.sin(angle)], 1)
        clean = np.where(y[:, None] == 0, upper, [1, 0.5] - upper)
        return clean + self.noise * rng.standard_normal(clean.shape)


class Circles(Toy):
    """Two concentric circles; two classes that no line separates.

    Shapes: inputs (2,), targets 0 for the outer circle of radius 1 and 1 for the inner one; angles are uniform.
    Errors: an inner circle that is not smaller.
    Source: scikit-learn's `make_circles`, whose angles are evenly spaced.
    """

    kind: ClassVar[str] = "circles"
    noise: NonNegativeFloat = Field(0.05, description="standard deviation of what is added to each coordinate")
    factor: PositiveFloat = Field(0.5, lt=1, description="radius of the inner circle")

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        angle = rng.uniform(0, 2 * np.pi, len(y))
        radius = np.where(y == 0, 1.0, self.factor)
        clean = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        found: Doubles = clean + self.noise * rng.standard_normal(clean.shape)
        return found


class Spirals(Toy):
    """The arms of a spiral, one a class.

    Shapes: inputs (2,), targets 0 to classes - 1. At the radius r, uniform from 0 to 1, arm k has the angle
    2 pi k / classes + turn r, plus noise; the point is (r sin angle, r cos angle).
    Errors: none of its own.
    Source: CS231n, notes on neural networks, "Putting it together": there 3 arms of 100 points, a turn of 4 rad,
        radii evenly spaced, and arms that start 4 rad apart.
    """

    kind: ClassVar[str] = "spirals"
    classes: PositiveInt = Field(3, le=100, description="arms")
    noise: NonNegativeFloat = Field(0.2, description="standard deviation of what is added to the angle, in radians")
    turn: float = Field(4.0, description="how far an arm turns on its way out, in radians")

    @property
    def outputs(self) -> int:
        return self.classes

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        radius = rng.uniform(0, 1, len(y))
        noise = self.noise * rng.standard_normal(len(y))
        angle = 2 * np.pi * y / self.classes + self.turn * radius + noise
        found: Doubles = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
        return found


class Blobs(Toy):
    """Normal clouds around random centres, one a class.

    Shapes: inputs (features,), targets 0 to classes - 1. Centres are uniform in the cube from -spread to spread, and
    the same ones in every part.
    Errors: none of its own.
    Source: scikit-learn's `make_blobs`.
    """

    kind: ClassVar[str] = "blobs"
    classes: PositiveInt = Field(3, le=1_000_000, description="clouds")
    features: PositiveInt = Field(2, le=1_000_000, description="values of an example")
    std: NonNegativeFloat = Field(1.0, description="standard deviation of a cloud along each axis")
    spread: PositiveFloat = Field(10.0, description="half the side of the cube of the centres")

    @property
    def inputs(self) -> int:
        return self.features

    @property
    def outputs(self) -> int:
        return self.classes

    def centres(self) -> Doubles:
        """Return the centre of each cloud (classes, features)."""
        rng = np.random.default_rng([self.seed, SHARED])
        return rng.uniform(-self.spread, self.spread, (self.classes, self.features))

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        clouds = self.std * rng.standard_normal((len(y), self.features))
        return clouds + self.centres()[y]


class XOR(Toy):
    """Parity: the class is 1 where an odd number of bits is set; no single unit computes it.

    Shapes: inputs (bits,), targets 0 and 1. Each input is a corner of the cube from 0 to 1, with noise; corners of a
    class are equally likely.
    Errors: none of its own.
    Source: Minsky & Papert 1969, Perceptrons: parity.
    """

    kind: ClassVar[str] = "xor"
    bits: PositiveInt = Field(2, ge=2, le=30, description="inputs")
    noise: NonNegativeFloat = Field(0.1, description="standard deviation of what is added to each bit")

    @property
    def inputs(self) -> int:
        return self.bits

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        free = rng.integers(0, 2, (len(y), self.bits - 1))
        last = (y + free.sum(1)) % 2
        corners = np.concatenate([free, last[:, None]], 1)
        return corners + self.noise * rng.standard_normal(corners.shape)
