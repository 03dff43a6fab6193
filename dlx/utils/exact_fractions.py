"""Numbers of a spec as exact fractions, so that 0.1 of 30 is 3 and three steps of 0.2 are 0.6."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

LARGEST = 1_000_000
"""Largest denominator that is tried: decimals of six places, and computed thirds."""


@lru_cache(4096)
def rational(value: float) -> Fraction:
    """Return the number that a float was written for: 1/10 for 0.1, 1/3 for 0.3333333333333333.

    It is the fraction of a small denominator that rounds to the float, else its decimal text, as 3333/10000 for
    0.3333. `value` is finite.
    """
    if isinstance(value, int):
        return Fraction(value)
    simple = Fraction(value).limit_denominator(LARGEST)
    return simple if float(simple) == value else Fraction(repr(value))


@lru_cache(4096)
def rounded_up(share: float, of: int) -> int:
    """Return `share * of`, exact, rounded up to a whole number."""
    return ceil(rational(share) * of)


@lru_cache(4096)
def rounded_down(share: float, of: int) -> int:
    """Return `share * of`, exact, rounded down to a whole number."""
    return floor(rational(share) * of)
