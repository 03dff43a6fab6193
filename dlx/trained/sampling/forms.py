"""What tokens are to a user: a text, or a wave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from ...training.generation.decoding import Generated


@dataclass(frozen=True)
class Sample:
    """What a network has made: tokens (n,), and the mean number of bits in which it tells one of them."""

    tokens: tuple[int, ...]
    bits_per_token: float

    def as_json(self) -> dict[str, Any]:
        return {"tokens": list(self.tokens), "bits_per_token": self.bits_per_token}


@dataclass(frozen=True)
class Beginning:
    """What is gone on with: its tokens, what it is called, and notes where it was not given."""

    tokens: Sequence[int]
    name: str | None
    notes: tuple[str, ...] = ()


class Form(Protocol):
    """What the tokens of a network stand for."""

    @property
    def unit(self) -> str:
        """What one of them is called in messages."""

    @property
    def size(self) -> int:
        """How many different ones there are."""

    @property
    def window(self) -> int:
        """How many of them an example of the training has."""

    def inputs(self, tokens: Tensor) -> Tensor:
        """Return what the network takes for tokens (N, n)."""

    def logits(self, outputs: Any) -> Tensor:
        """Return the logits (N, n, size) of what it gives."""

    def beginning(self, prompt: Any) -> Beginning:
        """Return what a prompt begins with, None for none. DlxError for one that has no tokens here."""

    def sample(self, made: Generated, before: Sequence[int]) -> Sample:
        """Return what was made, after the tokens before."""


def bits_of(made: Generated) -> float:
    """Return the mean number of bits of a token."""
    return -made.log_probability / len(made.tokens) / log(2)
