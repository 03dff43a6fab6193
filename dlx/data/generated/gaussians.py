"""Mixtures of normal distributions whose centres are known, so that what is made of them can be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ...lazy import np
from .toys import Toy

if TYPE_CHECKING:
    from ..base import Labels
    from ..preprocess.sums import Doubles


class Ring(Toy):
    """Normal clouds in equal steps around a circle, one a class.

    Shapes: inputs (2,), targets 0 to classes - 1. Class k lies around (radius cos a, radius sin a), a = 2 pi k /
    classes, with the same deviation along both axes.
    Errors: none of its own.
    Source: Metz et al. 2017, Unrolled Generative Adversarial Networks, arXiv:1611.02163, section 3.3.1 (8 clouds of a
        deviation of 0.02 on a circle of radius 2).
    """

    kind: ClassVar[str] = "ring"
    classes: PositiveInt = Field(8, le=1000, description="clouds")
    radius: PositiveFloat = Field(2.0, description="of the circle of the centres")
    std: NonNegativeFloat = Field(0.02, description="standard deviation of a cloud along each axis")

    @property
    def outputs(self) -> int:
        return self.classes

    def centres(self) -> Doubles:
        """Return the centre of each cloud (classes, 2)."""
        angle = 2 * np.pi * np.arange(self.classes) / self.classes
        found: Doubles = self.radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        return found

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        return self.centres()[y] + self.std * rng.standard_normal((len(y), 2))


class Gaussians(Toy):
    """A mixture of normal distributions around centres of your own, one a class, in equal shares.

    Shapes: inputs (d,), of a centre's number of values; targets 0 to the number of centres - 1.
    Errors: centres of several lengths.
    Source: none; d = 1 with one centre is the data of Prince 2023, Understanding Deep Learning, section 15.1.1.
    """

    kind: ClassVar[str] = "gaussians"
    centres: list[list[float] | float] = Field(
        [-2.0, 2.0], min_length=1, max_length=1000, description="numbers, or lists of as many numbers as an input has"
    )
    std: NonNegativeFloat = Field(1.0, description="standard deviation along each axis")

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = {len(_values(one)) for one in self.centres}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError(f"`centres` have {' and '.join(map(str, sorted(lengths)))} values: give each as many")
        return self

    @property
    def inputs(self) -> int:
        return len(_values(self.centres[0]))

    @property
    def outputs(self) -> int:
        return len(self.centres)

    def points(self, y: Labels, rng: np.random.Generator) -> Doubles:
        centres = np.array([_values(one) for one in self.centres])
        found: Doubles = centres[y] + self.std * rng.standard_normal((len(y), self.inputs))
        return found


def _values(centre: list[float] | float) -> list[float]:
    return centre if isinstance(centre, list) else [centre]
