"""A random order of many examples that takes no memory: each place is computed when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

ROUNDS = 6
MULTIPLIER = 0x2545F4914F6CDD1D
"""Odd; of xorshift64*, Vigna 2016."""


@dataclass(frozen=True)
class Permutation:
    """A random permutation of `count` numbers by a Feistel network, whose rounds mix one half with a key.

    Places whose number is beyond the last one are mixed on until it is not (cycle walking), so that each number comes
    once. Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 4.
    """

    count: int
    keys: tuple[int, ...]

    @classmethod
    def draw(cls, count: int, rng: Generator) -> Permutation:
        """Draw the keys of a permutation."""
        return cls(count, tuple(torch.randint(2**62, (ROUNDS,), generator=rng).tolist()))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: slice) -> Tensor:
        """Return the numbers at some places, int64."""
        number = self._mixed(torch.arange(*places.indices(self.count)))
        while (beyond := number >= self.count).any():
            number = torch.where(beyond, self._mixed(number), number)
        return number

    def _mixed(self, number: Tensor) -> Tensor:
        half = (max(self.count - 1, 1).bit_length() + 1) // 2
        mask = (1 << half) - 1
        left, right = number >> half, number & mask
        for key in self.keys:
            # the product wraps around in 64 bits, whose upper half depends on all bits of the factor
            product = (right + key) * MULTIPLIER
            left, right = right, left ^ ((product >> 32) & mask)
        return (left << half) | right
