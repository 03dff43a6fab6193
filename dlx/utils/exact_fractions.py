"""Numbers of a spec as exact fractions, so that 0.1 of 30 is 3 and three steps of 0.2 are 0.6."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

LARGEST = 1_000_000
"""Denominators up to this one are looked for: decimals of six places, and thirds that were computed."""


@lru_cache(4096)
def rational(value: float) -> Fraction:
    """The number that a float is written for: 1/10 for 0.1, 1/3 for 0.3333333333333333, 3333/10000 for 0.3333.

    That is a fraction with a small denominator whose float it is, else the decimal text. `value` is finite.
    """
    if isinstance(value, int):
        return Fraction(value)
    simple = Fraction(value).limit_denominator(LARGEST)
    return simple if float(simple) == value else Fraction(repr(value))


@lru_cache(4096)
def rounded_up(share: float, of: int) -> int:
    """The smallest whole number that is no less than this share."""
    return ceil(rational(share) * of)


@lru_cache(4096)
def rounded_down(share: float, of: int) -> int:
    """The largest whole number that is no more than this share."""
    return floor(rational(share) * of)
