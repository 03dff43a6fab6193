"""Memory of several networks side by side, in which no bit of a row depends on the rows beside it.

torch computes the last values of a tensor, those that fill no vector, by other code than the rest (`sigmoid`, `silu`,
`softplus` and their like differ in their last bits there), and MKL adds in another order where a matrix begins at
another place in a line of the cache. So each row begins where a first one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

VALUES = 32
"""Two vectors of AVX-512 in single precision, which torch computes at a time; two lines of the cache."""


def padded(count: int) -> int:
    """So many values, up to where the next row may begin."""
    return -(-count // VALUES) * VALUES


def rows(count: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros (count, *shape) of the type of `like`. Whole numbers lie without gaps: they are exact anywhere."""
    size = prod(shape)
    whole = like.new_zeros((count, padded(size) if like.is_floating_point() else size))
    return whole[:, :size].view(count, *shape)
