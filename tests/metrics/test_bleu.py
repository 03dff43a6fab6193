"""BLEU against counts by hand and the figures of sacrebleu 2.6.0 (`tok:none|smooth:none`)."""

from __future__ import annotations

from math import exp, log

import pytest

from dlx.metrics.bleu import Bleu


def bleu(*pairs: tuple[str, str]) -> float:
    made = Bleu()
    for text, reference in pairs:
        made.add(text, reference)
    return made.result()


def test_runs_of_words_are_counted_over_all_sentences():
    pairs = [("the cat is on the mat", "the cat sat on the mat"), ("there is a dog here", "there is a dog here now")]
    # by hand: the + cat + on + the + mat, and five; the cat, on the, the mat, and four; on the mat, and three; two
    shares = [10 / 11, 7 / 9, 4 / 7, 2 / 5]
    by_hand = exp(sum(map(log, shares)) / 4) * exp(1 - 12 / 11)
    assert bleu(*pairs) == pytest.approx(by_hand, abs=1e-12)


def test_a_word_counts_as_often_as_it_stands_in_the_reference():
    # Papineni et al. 2002, section 2.1, example 2: of seven `the` two count
    made = Bleu()
    made.add("the the the the the the the", "The cat is on the mat the end")
    assert (made.hits[0], made.runs[0]) == (2, 7)


def test_a_perfect_translation_has_one_and_nothing_in_common_zero():
    assert bleu(("a b c d e", "a b c d e")) == 1
    assert bleu(("a b c d", "e f g h")) == 0
    assert bleu(("", "a b c d")) == 0
    assert bleu(("a b c", "a b c")) == 0  # no run of four words: nothing is smoothed


def test_short_texts_are_punished_and_long_ones_are_not_twice():
    assert bleu(("a b c d", "a b c d e")) == pytest.approx(exp(1 - 5 / 4))
    long = [5 / 6, 4 / 5, 3 / 4, 2 / 3]
    assert bleu(("a b c d e x", "a b c d e")) == pytest.approx(exp(sum(map(log, long)) / 4))
