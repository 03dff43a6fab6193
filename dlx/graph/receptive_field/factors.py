"""Factors of an axis: how a window along one axis of an input moves from entry to entry of one axis of a value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from ...shapes import Number, whole

Factors = tuple[tuple[int, Number], ...]
"""One axis of a value as (length, stride) pairs, outer to inner; empty where the window does not move along it.

As with the strides of `torch.Tensor.stride`, an axis of 24 entries that is a map of 4x6 laid flat is ((4, 6), (6,
1)).
"""


def simplify(factors: Iterable[tuple[int, Number]]) -> list[tuple[int, Number]]:
    """Join neighbouring factors that are contiguous, and drop those of length 1."""
    simple: list[tuple[int, Number]] = []
    for n, stride in factors:
        if n == 1:
            continue
        if simple and simple[-1][1] == stride * n:
            simple[-1] = (simple[-1][0] * n, stride)
        else:
            simple.append((n, stride))
    return simple


def split_factors(
    factors: list[tuple[int, Number]], lengths: Sequence[int], drop_constant: bool = True
) -> tuple[Factors, ...] | None:
    """Split factors over axes of the given lengths, as a reshape does; None where an axis ends within a factor.

    With `drop_constant` an axis along which the window does not move is empty.
    """
    remaining, axes = factors[::-1], []
    for length in lengths:
        need, own = length, list[tuple[int, Number]]()
        while need > 1:
            n, stride = remaining.pop()
            if need % n == 0:
                own.append((n, stride))
                need //= n
            elif n % need == 0:
                own.append((need, whole(stride * (n // need))))
                remaining.append((n // need, stride))
                need = 1
            else:
                return None
        own = simplify(own)
        axes.append(tuple(own) if any(stride for _, stride in own) or not drop_constant else ())
    return tuple(axes)


def offset_at(factors: Factors, index: int) -> Number:
    """Return by how many input positions the window has moved at an entry of an axis."""
    offset: Number = 0
    for n, stride in reversed(factors):
        index, at = divmod(index, n) if n > 1 else (index, 0)
        offset += at * stride
    return offset


@lru_cache(maxsize=4096)
def moving_factors(steps: tuple[Factors, ...]) -> tuple[Factors, ...]:
    """Return the factors of more than one entry along which the window moves."""
    return tuple(tuple((n, s) for n, s in factors if n > 1 and s) for factors in steps)


def outer_stride(factors: Factors) -> Number:
    """Return the stride of the outermost factor; 0 along an axis where the window does not move."""
    return factors[0][1] if factors else 0


def replace_axis(steps: tuple[Factors, ...], axis: int, factors: Factors) -> tuple[Factors, ...]:
    """Return the steps with other factors at `axis`."""
    return (*steps[:axis], factors, *steps[axis + 1 :])


def without_axes(steps: tuple[Factors, ...], axes: Iterable[int]) -> tuple[Factors, ...]:
    """Return the steps of a window that does not move along `axes`."""
    constant = set(axes)
    return tuple(() if axis in constant else factors for axis, factors in enumerate(steps))
