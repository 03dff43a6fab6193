"""BLEU: how many of the runs of words of translations stand in their references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp, log

ORDER = 4
"""Longest run of words that counts."""
SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:none|smooth:none"
"""What is measured, in the words of sacrebleu: words between white space, as they are written, without smoothing."""


class Bleu:
    """Accumulates BLEU over all sentences of a part: from 0 to 1, with one reference each.

    With p_n the share of the runs of n words that stand in the reference, each as often as there at most, c the words
    of all translations and r those of all references: min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4), zero where one
    of the p_n is. Source: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation",
    section 2.3.
    """

    def __init__(self) -> None:
        self.hits, self.runs = [0] * ORDER, [0] * ORDER
        self.length = self.reference_length = 0

    def add(self, text: str, reference: str) -> None:
        """Add a translation and its reference."""
        words, wanted = text.split(), reference.split()
        self.length += len(words)
        self.reference_length += len(wanted)
        for n in range(1, ORDER + 1):
            found, there = _runs(words, n), _runs(wanted, n)
            self.hits[n - 1] += sum((found & there).values())
            self.runs[n - 1] += sum(found.values())

    def result(self) -> float:
        """Return BLEU of all that was added."""
        if not all(self.hits):
            return 0.0
        precision = sum(log(hits / runs) for hits, runs in zip(self.hits, self.runs, strict=True)) / ORDER
        return exp(precision + min(0.0, 1 - self.reference_length / self.length))


def _runs(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
