"""A tokenizer with special tokens before those of its texts, for texts that are padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..lazy import np
from .tokenizer import UNKNOWN, Text, Tokenizer

if TYPE_CHECKING:
    from .tokenizer import Numbers

PADDING, BEGIN, END, MASK = 0, 1, 2, 3
"""The numbers of the special tokens; the last one is of texts whose tokens are masked alone."""
SPECIALS = ("<padding>", "<begin>", "<end>")
"""Their names."""
MASK_NAME = "<mask>"
OTHERS = "<unknown>"
"""The special token behind them, where there is one: of all that is not in the vocabulary."""


class WithSpecials(Tokenizer):
    """The tokens of another tokenizer behind the special ones, in their order.

    The number 0 is padding, 1 the beginning, 2 the end; then, where there are such, 3 what is masked, and what is
    unknown to the other tokenizer. `encode` gives none of them but the last; `decode` leaves them out.
    """

    kind: ClassVar[str] = "with_specials"

    def __init__(self, inner: Tokenizer, mask: bool = False) -> None:
        self.inner, self.mask = inner, mask
        self.specials = (*SPECIALS, *((MASK_NAME,) if mask else ()))
        names = inner.names
        self.unknown = len(names) - 1 if names and names[-1] == UNKNOWN else None
        """Number of the unknown token in the other tokenizer, its last one."""
        self.first = len(self.specials) + (self.unknown is not None)
        """Number of special tokens."""

    @property
    def names(self) -> tuple[str, ...]:
        if self.unknown is None:
            return (*self.specials, *self.inner.names)
        return (*self.specials, OTHERS, *self.inner.names[:-1])

    @property
    def lengths(self) -> tuple[int, ...]:
        own, lengths = [0] * len(self.specials), self.inner.lengths
        return (*own, *lengths) if self.unknown is None else (*own, lengths[-1], *lengths[:-1])

    def encode(self, text: Text) -> Numbers:
        return self._behind_specials(self.inner.encode(text))

    def encode_each(self, texts: Sequence[str]) -> list[Numbers]:
        return [self._behind_specials(numbers) for numbers in self.inner.encode_each(texts)]

    def _behind_specials(self, numbers: Numbers) -> Numbers:
        numbers = numbers.astype(np.int64)
        if self.unknown is None:
            return numbers + self.first
        return np.where(numbers == self.unknown, len(self.specials), numbers + self.first)

    def decode(self, numbers: Sequence[int]) -> str:
        last = len(self.specials)
        inner = [
            int(number) - self.first if number >= self.first else self.unknown for number in numbers if number >= last
        ]
        return self.inner.decode([number for number in inner if number is not None])

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "inner": self.inner.as_json(), **({"mask": True} if self.mask else {})}
