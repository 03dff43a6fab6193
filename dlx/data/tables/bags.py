"""Texts as bags of words, as scikit-learn's CountVectorizer and TfidfVectorizer make them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from ...errors import DataError
from ...lazy import np
from ...registry import Strict

if TYPE_CHECKING:
    from ..preprocess.sums import Doubles

Documents = PositiveInt | Annotated[float, Field(gt=0, le=1)]
"""A count of texts, or a fraction of them."""


class TextOptions(Strict):
    """How a column of texts becomes a bag of words.

    Names and defaults are scikit-learn's, but for `max_features`, which is unbounded there.
    """

    values: Literal["counts", "binary", "tfidf"] = Field(
        "counts",
        description="how often each word is there, whether it is, or that times its inverse document frequency, "
        "with rows of length 1",
    )
    max_features: PositiveInt | None = Field(
        1000, description="most words, the most frequent ones of the training part; null takes all"
    )
    min_df: Documents = Field(1, description="texts that a word is in at least: a count, or a fraction")
    max_df: Documents = Field(1.0, description="texts that a word is in at most: a count, or a fraction")
    lowercase: bool = Field(True, description="whether A is a")
    ngram_range: list[PositiveInt] = Field(
        [1, 1], min_length=2, max_length=2, description="least and most words that make one input"
    )
    token_pattern: str = Field(r"\b\w\w+\b", description="regular expression of a word")

    @field_validator("token_pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"`token_pattern` {value} is no regular expression: {error}") from None
        if groups > 1:
            raise ValueError(f"`token_pattern` {value} has {groups} groups, and one is a word: write `(?:...)`")
        return value

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        low, high = self.ngram_range
        if low > high:
            raise ValueError(f"`ngram_range` runs from {low} to {high}: give the smaller number first")
        return self


Texts = Annotated[
    list[str] | dict[str, TextOptions],
    Field(description="columns of texts to take as bags of words, or their options by column"),
]


@dataclass(frozen=True)
class Bag:
    """Encoding of a column of texts; the words themselves are the `texts` of the column.

    Attributes:
        values: "counts", "binary" or "tfidf".
        lowercase, ngram_range, token_pattern: how words are found.
        idf: inverse document frequency of each word, for "tfidf".
    """

    values: str
    lowercase: bool
    ngram_range: tuple[int, int]
    token_pattern: str
    idf: tuple[float, ...] = ()

    def words(self, text: str) -> list[str]:
        """Return the words of a text and, with `ngram_range`, the neighbours among them, joined by a space."""
        words = re.findall(self.token_pattern, text.lower() if self.lowercase else text)
        low, high = self.ngram_range
        if high == 1:
            return words
        return [" ".join(words[i : i + n]) for n in range(low, high + 1) for i in range(len(words) - n + 1)]

    def encode(self, texts: Sequence[str | None], vocabulary: Sequence[str]) -> Doubles:
        """Return the values (texts, words); zeros for a missing text. Words of no input are left out."""
        place = {word: i for i, word in enumerate(vocabulary)}
        found = np.zeros((len(texts), len(place)), np.float64)
        for row, text in enumerate(texts):
            for word, count in Counter(self.words(text or "")).items():
                if word in place:
                    found[row, place[word]] = count
        if self.values == "binary":
            return np.minimum(found, 1)
        if self.values == "counts":
            return found
        found *= np.array(self.idf)
        length = np.sqrt(np.square(found).sum(1, keepdims=True))
        return found / np.where(length, length, 1)


def fitted_bag(texts: Iterable[str | None], options: TextOptions, where: str) -> tuple[tuple[str, ...], Bag]:
    """Return the vocabulary of the training texts, sorted, and the encoding.

    Of equally frequent words the first ones in the alphabet are taken. DataError where no word is left.
    """
    low, high = options.ngram_range
    bag = Bag(options.values, options.lowercase, (low, high), options.token_pattern)
    counts: Counter[str] = Counter()
    documents: Counter[str] = Counter()
    total = 0
    for text in texts:
        total += 1
        words = Counter(bag.words(text or ""))
        counts.update(words)
        documents.update(words.keys())
    least, most = (_count(bound, total) for bound in (options.min_df, options.max_df))
    chosen = [word for word in counts if least <= documents[word] <= most]
    if not chosen:
        reason = (
            f"of {len(counts):,} words, none is in at least {least:g} and at most {most:g} texts"
            if counts
            else "it has no words"
        )
        raise DataError(
            f"{where} gives no bag of words in the training part: {reason}",
            hint="Change `min_df`, `max_df` or `token_pattern` of it in `text`.",
        )
    chosen = sorted(chosen, key=lambda word: (-counts[word], word))[: options.max_features]
    vocabulary = tuple(sorted(chosen))
    if options.values != "tfidf":
        return vocabulary, bag
    # As of a text more that has each word once, so that no frequency is zero
    idf = tuple(float(np.log((1 + total) / (1 + documents[word])) + 1) for word in vocabulary)
    return vocabulary, Bag(bag.values, bag.lowercase, bag.ngram_range, bag.token_pattern, idf)


def _count(bound: float, total: int) -> float:
    return bound if isinstance(bound, int) else bound * total
