"""Rows of factors: how a window along one axis of an input moves from entry to entry of one axis of a value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from ...shapes import Number, whole

Factors = tuple[tuple[int, Number], ...]
"""One axis of a value: lengths and strides, outer to inner; empty where the window stays in its place along it."""


def merged(factors: Iterable[tuple[int, Number]]) -> list[tuple[int, Number]]:
    """A row of factors where neighbours that count on are one, and those of one entry are gone."""
    row: list[tuple[int, Number]] = []
    for n, stride in factors:
        if n == 1:
            continue
        if row and row[-1][1] == stride * n:
            row[-1] = (row[-1][0] * n, stride)
        else:
            row.append((n, stride))
    return row


def dealt(row: list[tuple[int, Number]], lengths: Sequence[int], bare: bool = True) -> tuple[Factors, ...] | None:
    """A row of factors dealt out to axes of other lengths; None where one would end within a factor."""
    left, axes = row[::-1], []
    for length in lengths:
        need, own = length, list[tuple[int, Number]]()
        while need > 1:
            n, stride = left.pop()
            if need % n == 0:
                own.append((n, stride))
                need //= n
            elif n % need == 0:
                own.append((need, whole(stride * (n // need))))
                left.append((n // need, stride))
                need = 1
            else:
                return None
        own = merged(own)
        axes.append(tuple(own) if any(stride for _, stride in own) or not bare else ())
    return tuple(axes)


def offset_at(factors: Factors, place: int) -> Number:
    """How far the window has moved at an entry of an axis."""
    moved: Number = 0
    for n, stride in reversed(factors):
        place, at = divmod(place, n) if n > 1 else (place, 0)
        moved += at * stride
    return moved


@lru_cache(maxsize=4096)
def moving(steps: tuple[Factors, ...]) -> tuple[Factors, ...]:
    """The factors of more than one entry along which the window moves."""
    return tuple(tuple((n, s) for n, s in factors if n > 1 and s) for factors in steps)


def outer_stride(factors: Factors) -> Number:
    """The stride of the outermost factor; 0 along an axis where the window stays in its place."""
    return factors[0][1] if factors else 0


def with_axis(steps: tuple[Factors, ...], axis: int, factors: Factors) -> tuple[Factors, ...]:
    """Steps with another row of factors at `axis`."""
    return (*steps[:axis], factors, *steps[axis + 1 :])


def without(steps: tuple[Factors, ...], axes: Iterable[int]) -> tuple[Factors, ...]:
    """Steps with the window in its place along `axes`."""
    gone = set(axes)
    return tuple(() if axis in gone else factors for axis, factors in enumerate(steps))
