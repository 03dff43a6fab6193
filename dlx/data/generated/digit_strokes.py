"""Pen strokes of several digits, one after the other at places that nobody tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Split
from .mnist1d import NAMES, STROKES, resample, strokes
from .toys import Toy

if TYPE_CHECKING:
    from ..preprocess.sums import Doubles

NO_LABEL = -100
"""Target behind the last digit."""


class DigitStrokes(Toy):
    """Signals with the pen strokes of 1 to `most` digits in a row, which are to be told without their places.

    The strokes are those of MNIST-1D, of standard deviation 1 each. A digit is stretched to a width uniform between
    `narrow` and `wide`, and scaled by a height uniform from 0.7 to 1.3; what is left of the signal is 0 and goes
    before, between and behind the digits in uniform shares, of which any may be none; then comes noise.
    Shapes: inputs (1, length); targets (most,), digits from 0 to 9 in their order, -100 behind the last.
    Errors: digits that do not fit; widths that run backwards.
    Source: our own; the strokes of Greydanus & Kobak 2024, arXiv:2011.14439.
    """

    kind: ClassVar[str] = "digit_strokes"
    most: PositiveInt = Field(
        5, le=1_000_000, description="digits of a signal at most; their number is uniform from 1 on"
    )
    length: PositiveInt = Field(160, le=1_000_000, description="positions of a signal")
    narrow: PositiveInt = Field(16, le=1_000_000, ge=2, description="fewest positions of a digit")
    wide: PositiveInt = Field(28, le=1_000_000, description="most positions of a digit")
    noise: NonNegativeFloat = Field(0.2, description="standard deviation of what is added to each position")

    source: ClassVar[str] = "generated strokes"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.narrow > self.wide:
            raise ValueError(f"widths run from `narrow` {self.narrow} to `wide` {self.wide}: swap them")
        if self.most * self.wide > self.length:
            raise ValueError(
                f"`most` {self.most} digits of up to {self.wide} positions do not fit into `length` {self.length}: "
                f"give at least {self.most * self.wide}"
            )
        return self

    def facts(self) -> Facts:
        return Facts(
            Shape((1, self.length)),
            classes=len(NAMES),
            target=Shape((self.most,)),
            class_names=NAMES,
            examples=self.train,
        )

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        if not n:
            return None
        pens = {w: resample(6 * strokes(), w) for w in range(self.narrow, self.wide + 1)}
        count = rng.integers(1, self.most, n, endpoint=True)
        digits = rng.integers(0, len(STROKES), (n, self.most))
        there = np.arange(self.most) < count[:, None]
        x = self.noise * rng.standard_normal((n, self.length))
        for i in range(n):
            width = rng.integers(self.narrow, self.wide, count[i], endpoint=True)
            height = rng.uniform(0.7, 1.3, count[i])
            x[i] += self._signal([h * pens[w][d] for d, w, h in zip(digits[i], width, height, strict=False)], rng)
        return Split(x[:, None].astype(np.float32), np.where(there, digits, NO_LABEL))

    def _signal(self, pieces: list[Doubles], rng: np.random.Generator) -> Doubles:
        """Put strokes into a signal (length,) of zeros, in their order."""
        free = self.length - sum(len(one) for one in pieces)
        places = np.sort(rng.integers(0, free, len(pieces), endpoint=True))
        found = np.zeros(self.length)
        start = 0
        for place, one in zip(places, pieces, strict=True):
            found[start + place : start + place + len(one)] = one
            start += len(one)
        return found
