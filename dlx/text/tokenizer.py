"""The base class of tokenizers, and those of characters and bytes, which need no library."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ..lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[Any]

Text = str | bytes
UNKNOWN = "<unk>"
"""Name of the token of all that is not in the vocabulary."""


class UnknownTextError(ValueError):
    """A part of a text that is not in the vocabulary: the text, and the number of characters before it."""

    def __init__(self, text: str, before: int) -> None:
        self.text, self.before = text, before
        super().__init__(f"`{text}` is not in the vocabulary")


class Tokenizer(ABC):
    """Turns texts into numbers of tokens, from 0 up to `size` without it, and back.

    `as_json` is all of it, with which `restored` makes it again. `decode(encode(text))` is the text itself, but for
    words, between which it puts a space.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The tokens as texts, each another one."""

    @property
    @abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """Number of characters that each token stands for; of bytes those that begin with it."""

    @abstractmethod
    def encode(self, text: Text) -> Numbers:
        """Return the numbers of a text (tokens,). UnknownTextError where a part of it is not in the vocabulary."""

    @abstractmethod
    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of some tokens."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Return the tokenizer as a JSON document."""

    def encode_each(self, texts: Sequence[str]) -> list[Numbers]:
        """Return the numbers of each of some texts. UnknownTextError as `encode` has it, for one of them."""
        return [self.encode(text) for text in texts]

    def encode_pieces(self, pieces: Iterable[Text]) -> Iterator[Numbers]:
        """Encode a text that comes in pieces of any length, as it would be encoded whole.

        UnknownTextError counts the characters from the beginning of the text.
        """
        before = 0
        for piece in pieces:
            try:
                yield self.encode(piece)
            except UnknownTextError as error:
                raise UnknownTextError(error.text, before + error.before) from None
            before += len(piece)

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary."""
        return len(self.names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the document."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


class Characters(Tokenizer):
    """Each character is a token, in the order of their code points."""

    kind: ClassVar[str] = "characters"

    def __init__(self, characters: str, *, with_unknown: bool) -> None:
        self.characters, self.with_unknown = characters, with_unknown

    @classmethod
    def of(cls, texts: Iterable[Text], *, with_unknown: bool) -> Characters:
        """Return the tokenizer of the characters that occur in some texts."""
        found: set[str] = set()
        for text in texts:
            found.update(str(text))
        return cls("".join(sorted(found)), with_unknown=with_unknown)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.characters, *([UNKNOWN] if self.with_unknown else []))

    @property
    def lengths(self) -> tuple[int, ...]:
        return (1,) * self.size

    @cached_property
    def _table(self) -> Numbers:
        """The number of each code point up to the largest of the vocabulary, and of one above; else `missing`."""
        points = np.frombuffer(self.characters.encode("utf-32-le"), "<u4")
        table = np.full(int(points.max(initial=0)) + 2, self._missing, np.uint32)
        table[points] = np.arange(len(points))
        return table

    @property
    def _missing(self) -> int:
        """The number of a character that is not in the vocabulary."""
        return len(self.characters)

    def encode(self, text: Text) -> Numbers:
        points = np.frombuffer(str(text).encode("utf-32-le"), "<u4")
        found: Numbers = self._table[np.minimum(points, len(self._table) - 1)]
        if not self.with_unknown and (at := np.flatnonzero(found == self._missing)).size:
            first = int(at[0])
            raise UnknownTextError(str(text)[first], first)
        return found

    def decode(self, numbers: Sequence[int]) -> str:
        names = self.names
        return "".join([names[number] for number in numbers])

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters, "unknown": self.with_unknown}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Characters:
        return cls(str(document["characters"]), with_unknown=bool(document["unknown"]))


class Bytes(Tokenizer):
    """Each byte of the text in UTF-8 is a token."""

    kind: ClassVar[str] = "bytes"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(chr(i) if 32 < i < 127 else f"0x{i:02x}" for i in range(256))

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(int(not is_continuation(i)) for i in range(256))

    def encode(self, text: Text) -> Numbers:
        return np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)

    def decode(self, numbers: Sequence[int]) -> str:
        return bytes(numbers).decode("utf-8", errors="replace")

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, _: Mapping[str, Any]) -> Bytes:
        return cls()


def is_continuation(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with a character that began before it."""
    return byte & 0xC0 == 0x80
