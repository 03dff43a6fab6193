"""Counts of the n tokens that follow each other in a text, which give the probability of each next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..lazy import np
from .base import OfText

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[Any]

Smoothing = Literal["kneser_ney", "witten_bell", "add_k"]


class NGram(OfText):
    """P(token | the n - 1 before it) by counts c of the training part; V is the size of the vocabulary.

    With h the tokens before, h' those without the first, and t(h) the number of different tokens that follow h:
    kneser_ney: (max(c(h w) - d, 0) + d t(h) P(w | h')) / c(h), where all but the longest counts are those of
        different tokens before: c(w) is in how many places of different kind w stands, not how often.
    witten_bell: (c(h w) + t(h) P(w | h')) / (c(h) + t(h)).
    add_k: (c(h w) + k) / (c(h) + k V), without h'; of h that was never seen 1 / V.
    The recursion ends in 1 / V. A token sees no further than its document begins, and not only its window.
    Errors: `discount` or `k` beside a smoothing that has none.
    Source: Jurafsky & Martin, Speech and Language Processing, 3rd edition, sections 3.5 to 3.7 (add-k, and
        interpolated Kneser-Ney with its discount of 0.75); Chen & Goodman 1999, section 2.5 (Witten-Bell).
    """

    kind: ClassVar[str] = "ngram"
    n: PositiveInt = Field(3, le=1_000, description="tokens that are counted together: one, and the n - 1 before it")
    smoothing: Smoothing = Field("kneser_ney", description="how tokens that never followed get a probability")
    discount: float | None = Field(None, gt=0, lt=1, description="of kneser_ney, d; null: 0.75")
    k: PositiveFloat | None = Field(None, description="of add_k, what each count has more; null: 1")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        for name, owner in (("discount", "kneser_ney"), ("k", "add_k")):
            if getattr(self, name) is not None and self.smoothing != owner:
                raise ValueError(f"`{name}` is of {owner}, and `smoothing` is {self.smoothing}: leave one out")
        return self

    @property
    def context(self) -> int:
        return self.n - 1

    def counted(self, tokens: Numbers, documents: Numbers, vocabulary: int) -> Counted:
        depth, by_levels = depths(documents), self.smoothing != "add_k"
        grams, known, counts, firsts = _grams(tokens.astype(np.int64), depth, self.n, vocabulary)
        different = int((counts[-1] > 0).sum())
        if self.smoothing == "kneser_ney":
            for level, first in enumerate(firsts[1:]):  # in place of how often: after how many different ones
                counts[level] = np.bincount(grams[level][first], minlength=len(known[level]))
        shorter = [np.zeros(vocabulary, np.int64)]
        shorter += [grams[level - 1][firsts[level]] for level in range(1, self.n)]
        levels: list[Level] = []
        for level in range(self.n):
            before = levels[-1] if level and by_levels else None
            contexts = shorter[level - 1] if level else np.zeros(1, np.int64)
            levels.append(self._level(known[level], counts[level], shorter[level], contexts, before, vocabulary))
        return Counted(tuple(levels), vocabulary, different, by_levels)

    def _level(
        self, keys: Numbers, counts: Numbers, shorter: Numbers, contexts: Numbers, below: Level | None, size: int
    ) -> Level:
        """Return the probabilities of one length.

        `shorter` is the number of each gram without its first token, `contexts` that of all tokens before.
        """
        context, number = keys // size, len(contexts)
        total: Numbers
        own: Numbers
        rest: Numbers
        every = np.bincount(context, counts, number)
        kinds = np.bincount(context[counts > 0], minlength=number).astype(float)
        if self.smoothing == "add_k":
            k = self.k or 1.0
            total, own, rest = every + k * size, counts.astype(float), np.full(number, k * size)
        elif self.smoothing == "witten_bell":
            total, own, rest = every + kinds, counts.astype(float), kinds
        else:
            d = self.discount or 0.75
            total, own, rest = every, np.maximum(counts - d, 0), d * kinds
        # tokens that nothing follows, as the last ones of a text, leave all to the shorter ones
        share = np.divide(rest, total, out=np.ones(number), where=total > 0)
        p = np.divide(own, total[context], out=np.zeros(len(keys)), where=total[context] > 0)
        p += share[context] * (below.p[shorter] if below is not None else 1 / size)
        best, best_p = np.zeros(number, np.int64), share / size
        if below is not None:
            best, best_p = below.best[contexts], share * below.best_p[contexts]
        order = np.lexsort((-p, context))
        order = order[np.unique(context, return_index=True)[1]]
        at = context[order]
        better = p[order] >= best_p[at]
        best[at] = np.where(better, keys[order] % size, best[at])
        best_p[at] = np.where(better, p[order], best_p[at])
        return Level(keys, p, share, best, best_p)


@dataclass(frozen=True)
class Level:
    """The probabilities of all grams of one length.

    Attributes:
        keys: number of the tokens before times the vocabulary, plus the token, ascending (grams,).
        p: probability of the last token of each (grams,).
        share: what is left to the shorter ones for tokens that never followed, by the tokens before (contexts,).
        best: the most probable token after the tokens before (contexts,).
        best_p: its probability (contexts,).
    """

    keys: Numbers
    p: Numbers
    share: Numbers
    best: Numbers
    best_p: Numbers


@dataclass(frozen=True)
class Counted:
    """Counts of a training part, a level a length: of one token, of two, ..."""

    levels: tuple[Level, ...]
    vocabulary: int
    different: int
    """Number of different grams of the full length in the training part."""
    by_levels: bool
    """Whether tokens that never followed have the probability after the shorter ones; else each the same."""

    def answers(self, tokens: Numbers, documents: Numbers) -> tuple[Numbers, Numbers]:
        """Return the probability of each token after those before it, and the most probable one, (tokens,) each."""
        depth, size = depths(documents), self.vocabulary
        p, best = np.full(len(tokens), 1 / size), np.zeros(len(tokens), np.int64)
        gram = np.full(len(tokens), 0)  # number of the gram of the last level that ends at each place
        for length, level in enumerate(self.levels):
            there = np.flatnonzero(depth >= length)
            context = gram[there - 1] if length else gram
            if not self.by_levels:
                p[there], best[there] = 1 / size, 0
            gram = np.full(len(tokens), -1)
            there, context = there[context >= 0], context[context >= 0]
            key = context * size + tokens[there]
            at = np.searchsorted(level.keys, key).clip(max=len(level.keys) - 1)
            seen = level.keys[at] == key
            gram[there[seen]] = at[seen]
            p[there] = np.where(seen, level.p[at], level.share[context] * p[there])
            best[there] = level.best[context]
        return p, best


def depths(documents: Numbers) -> Numbers:
    """Return the number of tokens before each one in its document (tokens,)."""
    found: Numbers = np.arange(documents[-1]) - np.repeat(documents[:-1], np.diff(documents))
    return found


def _grams(
    tokens: Numbers, depth: Numbers, n: int, vocabulary: int
) -> tuple[list[Numbers], list[Numbers], list[Numbers], list[Numbers]]:
    """Return by length what is at each place: the number of the gram that ends there, -1 where a document is too
    short; the keys of the grams, how often each is there, and a place of it.
    """
    grams, known = [tokens], [np.arange(vocabulary)]
    counts, firsts = [np.bincount(tokens, minlength=vocabulary)], [np.empty(0, np.int64)]
    for length in range(1, n):
        there = np.flatnonzero(depth >= length)
        keys = grams[-1][there - 1] * vocabulary + tokens[there]
        found, first, number, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        grams.append(np.full(len(tokens), -1))
        grams[-1][there] = number
        known.append(found)
        counts.append(count)
        firsts.append(there[first])
    return grams, known, counts, firsts
