"""Tokenizers of words and of byte pairs, by the library `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

from ..lazy import np
from .tokenizer import UNKNOWN, Text, Tokenizer, UnknownTextError, is_continuation

if TYPE_CHECKING:
    from .tokenizer import Numbers

LONGEST_LINE = 2**16
"""Characters after which a line is cut: a text without lines is encoded in constant memory all the same."""
LINES = 2**16
"""Characters of whole lines that are encoded as one text."""
AT_ONCE = 64
"""Such texts that the library encodes at once, side by side on the cores."""


class WordTokenizer(Tokenizer):
    r"""Words (`\w+`) and runs of other characters; white space stands between them and is no token.

    The words come in the order of their frequency, ties in that of the alphabet; the unknown one is the last.
    """

    kind: ClassVar[str] = "words"

    def __init__(self, words: Sequence[str], *, with_unknown: bool) -> None:
        self.words, self.with_unknown = list(words), with_unknown

    @classmethod
    def of(cls, texts: Iterable[Text], size: int | None, *, with_unknown: bool) -> WordTokenizer:
        """Return the tokenizer of the words of some texts. Where `size` leaves out some, there is an unknown one."""
        from tokenizers import Tokenizer as Library
        from tokenizers import models, pre_tokenizers, trainers

        found = Library(models.WordLevel(unk_token=UNKNOWN))
        found.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=2**31, special_tokens=[UNKNOWN], show_progress=False)
        found.train_from_iterator(whole_lines(texts), trainer)
        numbers = found.get_vocab()
        words = sorted(numbers.keys() - {UNKNOWN}, key=lambda word: numbers[word])
        left_out = size is not None and size < len(words)
        return cls(words[:size], with_unknown=with_unknown or left_out)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.words, *([UNKNOWN] if self.with_unknown else []))

    @property
    def lengths(self) -> tuple[int, ...]:
        return (*map(len, self.words), *([1] if self.with_unknown else []))

    @cached_property
    def _library(self) -> Any:
        from tokenizers import Tokenizer as Library
        from tokenizers import models, pre_tokenizers

        vocabulary = {word: i for i, word in enumerate([*self.words, UNKNOWN])}
        made = Library(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        return made

    def encode(self, text: Text) -> Numbers:
        return _joined(self.encode_pieces([text]))

    def encode_each(self, texts: Sequence[str]) -> list[Numbers]:
        found = _each(self._library, texts)
        for text, numbers in zip(texts, found, strict=True):
            if not self.with_unknown and (numbers == len(self.words)).any():
                raise self._first_unknown([text], 0)
        return found

    def encode_pieces(self, pieces: Iterable[Text]) -> Iterator[Numbers]:
        before = 0
        for texts in _batched(whole_lines(pieces)):
            numbers = _encoded(self._library, texts)
            if not self.with_unknown and (numbers == len(self.words)).any():
                raise self._first_unknown(texts, before)
            before += sum(map(len, texts))
            yield numbers

    def _first_unknown(self, texts: Sequence[str], before: int) -> UnknownTextError:
        known = set(self.words)
        for text in texts:
            for word, (start, _) in self._library.pre_tokenizer.pre_tokenize_str(text):
                if word not in known:
                    return UnknownTextError(word, before + start)
            before += len(text)
        raise AssertionError("a word had no number, and all are known")

    def decode(self, numbers: Sequence[int]) -> str:
        names = self.names
        return " ".join([names[number] for number in numbers])

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words, "unknown": self.with_unknown}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> WordTokenizer:
        return cls([str(word) for word in document["words"]], with_unknown=bool(document["unknown"]))


class BpeTokenizer(Tokenizer):
    """Byte pair encoding: a text is cut into words as GPT-2 does, line by line, and each into merged bytes.

    The 256 bytes are tokens, so that every text can be encoded, and `decode` gives it back.
    Source: Sennrich, Haddow & Birch 2016, arXiv:1508.07909; of bytes: Radford et al. 2019, section 2.2.
    """

    kind: ClassVar[str] = "bpe"

    def __init__(self, document: str) -> None:
        self.document = document

    @classmethod
    def of(cls, texts: Iterable[Text], size: int) -> BpeTokenizer:
        """Return the tokenizer of some texts, with at most `size` tokens: a short text has fewer pairs."""
        from tokenizers import Tokenizer as Library
        from tokenizers import decoders, models, pre_tokenizers, trainers

        made = Library(models.BPE())
        # Each line by itself: so a text that comes in whole lines is encoded as one that comes at once
        lines = pre_tokenizers.Split("\n", "merged_with_previous")
        made.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        made.decoder = decoders.ByteLevel()
        every_byte = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=every_byte, show_progress=False)
        made.train_from_iterator(whole_lines(texts), trainer)
        return cls(made.to_str())

    @cached_property
    def _library(self) -> Any:
        from tokenizers import Tokenizer as Library

        return Library.from_str(self.document)

    @cached_property
    def names(self) -> tuple[str, ...]:
        vocabulary: dict[str, int] = self._vocabulary
        return tuple(sorted(vocabulary, key=lambda name: vocabulary[name]))

    @property
    def _vocabulary(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.document)["model"]["vocab"]
        return found

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        byte = {letter: number for number, letter in bytes_to_letters().items()}
        return tuple(sum(not is_continuation(byte[letter]) for letter in name) for name in self.names)

    def encode(self, text: Text) -> Numbers:
        return _joined(self.encode_pieces([text]))

    def encode_each(self, texts: Sequence[str]) -> list[Numbers]:
        return _each(self._library, texts)

    def encode_pieces(self, pieces: Iterable[Text]) -> Iterator[Numbers]:
        return (_encoded(self._library, texts) for texts in _batched(whole_lines(pieces)))

    def decode(self, numbers: Sequence[int]) -> str:
        text: str = self._library.decode(list(map(int, numbers)), skip_special_tokens=False)
        return text

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "document": self.document}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BpeTokenizer:
        return cls(str(document["document"]))


def bytes_to_letters() -> dict[int, str]:
    """Return the letter by which byte-level encodings write each byte: itself where it is printable.

    Source: openai/gpt-2, encoder.py, bytes_to_unicode.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def whole_lines(pieces: Iterable[Text]) -> Iterator[str]:
    """Yield a text that comes in pieces as texts of whole lines, about `LINES` characters each; longer lines are cut.

    Where it is cut depends on the text alone, and not on the pieces.
    """
    waiting: list[str] = []
    length, rest = 0, ""
    for piece in pieces:
        rest += str(piece)
        *lines, rest = rest.split("\n")
        for line in lines:
            for part in _cut(f"{line}\n"):
                waiting.append(part)
                length += len(part)
                if length >= LINES:
                    yield "".join(waiting)
                    waiting, length = [], 0
        while len(rest) > LONGEST_LINE:
            yield "".join([*waiting, rest[:LONGEST_LINE]])
            waiting, length, rest = [], 0, rest[LONGEST_LINE:]
    if waiting or rest:
        yield "".join([*waiting, rest])


def _cut(line: str) -> Iterator[str]:
    return (line[i : i + LONGEST_LINE] for i in range(0, len(line), LONGEST_LINE))


def _batched(texts: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(texts)
    while batch := list(islice(waiting, AT_ONCE)):
        yield batch


def _encoded(library: Any, texts: Sequence[str]) -> Numbers:
    """Return the numbers of some texts in their order (tokens,)."""
    found = library.encode_batch_fast(texts, add_special_tokens=False)
    return np.fromiter(chain.from_iterable(one.ids for one in found), np.uint32)


def _each(library: Any, texts: Iterable[str]) -> list[Numbers]:
    """Return the numbers of each text (tokens,)."""
    batches = (library.encode_batch_fast(some, add_special_tokens=False) for some in _batched(texts))
    return [np.array(one.ids, np.uint32) for batch in batches for one in batch]


def _joined(pieces: Iterator[Numbers]) -> Numbers:
    return np.concatenate([np.empty(0, np.uint32), *pieces])
