"""Predictions that are sequences of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .answer_base import Answers

if TYPE_CHECKING:
    from .answer_base import Array


@dataclass(frozen=True)
class Sequences(Answers):
    """A sequence of labels for each input: their numbers (n, positions), below 0 behind the end."""

    sequences: Array
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def arrays(self) -> dict[str, Array]:
        return {"sequences": self.sequences}

    @property
    def titles(self) -> list[str] | None:
        return ["labels"]

    def names(self, i: int) -> list[str]:
        """Return the labels of input `i` by their names, or else their numbers."""
        numbers = [int(number) for number in self.sequences[i] if number >= 0]
        return [self.labels[number] if number < len(self.labels) else str(number) for number in numbers]

    def rows(self, i: int) -> list[list[Any]]:
        return [[" ".join(self.names(i))]]

    def as_json(self, i: int) -> dict[str, Any]:
        return {"labels": self.names(i)}
