"""Memory for the rows of several networks, aligned so that no bit of a row depends on the other rows.

torch computes the last values of a tensor, those that do not fill a vector register, by other code than the rest
(`sigmoid`, `silu`, `softplus` and others differ in their last bits there), and MKL adds in another order where a
matrix begins at another offset within a cache line. So each row begins at a multiple of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ALIGNED_VALUES = 32
"""Two vectors of AVX-512 in single precision, which torch computes at a time; two lines of the cache."""


def padded(count: int) -> int:
    """Return `count` values rounded up to where the next row may begin."""
    return -(-count // ALIGNED_VALUES) * ALIGNED_VALUES


def rows(count: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """Allocate zeros (count, *shape) of the type of `like`; integers, which are exact anywhere, without padding."""
    size = prod(shape)
    whole = like.new_zeros((count, padded(size) if like.is_floating_point() else size))
    return whole[:, :size].view(count, *shape)
