"""Counts of tokens, by hand, by the textbook's recursion in plain Python, and against the meters of a network."""

from __future__ import annotations

from collections import Counter
from math import log2

import numpy as np
import pytest
import torch
from helpers import experiment_of

from dlx.baselines import BASELINES
from dlx.data import DATASETS
from dlx.errors import SpecError
from dlx.experiment import baselines
from dlx.experiment.text_baselines import target_counts
from dlx.objectives import OBJECTIVES
from dlx.spec.baseline_list import with_baselines

SMOOTHINGS = ("kneser_ney", "witten_bell", "add_k")


def test_kneser_ney_by_hand():
    """Of a b a b a a, V = 2: c(a) = 3 before something, b in 2, a in 1; c(aa) = 1 and c(ab) = 2, c(ba) = 2.

    Different tokens before a: a and b, before b: a; so P(a) = (2 - 0.75)/3 + 0.75 * 2/3 * 1/2 = 2/3, P(b) = 1/3.
    P(b | a) = (2 - 0.75)/3 + 0.75 * 2/3 * 1/3 = 7/12, P(a | a) = 5/12, P(a | b) = (2 - 0.75)/2 + 0.75/2 * 2/3 = 7/8.
    """
    counted = BASELINES["ngram"](n=2).counted(np.array([0, 1, 0, 1, 0, 0]), np.array([0, 6]), 2)
    p, best = counted.answers(np.array([0, 1, 0, 0, 1]), np.array([0, 5]))
    assert p == pytest.approx([2 / 3, 7 / 12, 7 / 8, 5 / 12, 7 / 12])
    assert best.tolist() == [0, 1, 0, 1, 1]


def test_add_one_by_hand():
    """Of the same text: P(b | a) = (2 + 1)/(3 + 2), P(a | b) = (2 + 1)/(2 + 2); nothing is known of c: 1/3."""
    ngram = BASELINES["ngram"](n=2, smoothing="add_k")
    p, _ = ngram.counted(np.array([0, 1, 0, 1, 0, 0]), np.array([0, 6]), 2).answers(
        np.array([0, 1, 0]), np.array([0, 3])
    )
    assert p[1:] == pytest.approx([3 / 5, 3 / 4])
    p, _ = ngram.counted(np.array([0, 1, 0]), np.array([0, 3]), 3).answers(np.array([2, 1]), np.array([0, 2]))
    assert p[1] == pytest.approx(1 / 3)


def test_witten_bell_by_hand():
    """P(a) = (4 + 2 / 2)/(6 + 2) = 5/8; two tokens follow a: P(b | a) = (2 + 2 * 3/8)/(3 + 2) = 11/20."""
    ngram = BASELINES["ngram"](n=2, smoothing="witten_bell")
    p, _ = ngram.counted(np.array([0, 1, 0, 1, 0, 0]), np.array([0, 6]), 2).answers(
        np.array([0, 1]), np.array([0, 2])
    )
    assert p == pytest.approx([5 / 8, 11 / 20])


def recursion(texts: list[list[int]], smoothing: str, n: int, size: int):
    """Return P(w | h) as the textbook writes it, with dictionaries."""
    raw = Counter(tuple(t[i - k : i + 1]) for t in texts for i in range(len(t)) for k in range(min(i, n - 1) + 1))

    def count(gram: tuple[int, ...]) -> int:
        if smoothing != "kneser_ney" or len(gram) == n:
            return raw[gram]
        return sum((w, *gram) in raw for w in range(size))

    def p(w: int, h: tuple[int, ...]) -> float:
        counts = [count((*h, v)) for v in range(size)]
        total, kinds = sum(counts), sum(c > 0 for c in counts)
        if smoothing == "add_k":
            return (counts[w] + 1) / (total + size)
        lower = p(w, h[1:]) if h else 1 / size
        if not total:
            return lower
        if smoothing == "witten_bell":
            return (counts[w] + kinds * lower) / (total + kinds)
        return (max(counts[w] - 0.75, 0) + 0.75 * kinds * lower) / total

    return p


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_every_probability_is_that_of_the_recursion(smoothing, n):
    rng, size = np.random.default_rng(n), 4
    texts = [rng.integers(0, size - 1, length).tolist() for length in (17, 1, 30)]  # the last token never occurs
    others = [rng.integers(0, size, length).tolist() for length in (40, 2, 9)]
    ends = [np.cumsum([0, *map(len, each)]) for each in (texts, others)]
    counted = BASELINES["ngram"](n=n, smoothing=smoothing).counted(np.concatenate(texts), ends[0], size)
    found, best = counted.answers(np.concatenate(others), ends[1])
    p = recursion(texts, smoothing, n, size)
    at = 0
    for text in others:
        for i, w in enumerate(text):
            before = tuple(text[max(0, i - n + 1) : i])
            every = [p(v, before) for v in range(size)]
            assert sum(every) == pytest.approx(1)
            assert found[at] == pytest.approx(every[w])
            assert every[best[at]] == pytest.approx(max(every))
            at += 1


@pytest.mark.parametrize("stride", [2, 4, 7])
def test_a_token_counts_as_often_as_windows_tell_it(stride):
    text = DATASETS["text"](content="abcabcaabbccabcab" * 5, window=4, stride=stride, test=0.4)
    sets = text.load()
    for part in (sets.train, sets.test):
        told = np.bincount(part.y[:][part.y[:] >= 0], minlength=3)
        times = target_counts(part.y)
        assert [times[part.y.file.tokens == token].sum() for token in range(3)] == told.tolist()


SPEC = """
dlx: 1
data: {text: {content: "CONTENT", tokens: TOKENS, window: 5, test: 0.3, unknown: token}}
network: {layers: [{embedding: {embedding_dim: 4}}, {linear: "${data.vocabulary}"}]}
objective: language
train: {steps: 1}
track: {mlflow: false}
baselines: [ngram]
"""


def metrics_of(tmp_path, content: str, tokens: str = "characters"):
    spec = experiment_of(SPEC.replace("CONTENT", content).replace("TOKENS", tokens))
    return baselines.run(spec, tmp_path).groups[0].runs[0].result.metrics


def test_metrics_are_those_that_the_meters_of_a_network_find(tmp_path):
    """Logits that are the logarithms of the probabilities have the same loss, bits and accuracy."""
    content = "\u00e9 a b a c a b a d " * 12
    found = metrics_of(tmp_path, content, "bytes")
    data = DATASETS["text"](content=content, tokens="bytes", window=5, test=0.3, unknown="token")
    sets, facts = data.load(), data.facts()
    objective = OBJECTIVES["language"]()
    objective = objective.fitted(objective.target_statistics(sets.train.y, 256))
    counted = BASELINES["ngram"]().counted(sets.train.y.file.tokens, sets.train.y.file.documents, 256)
    file, meters = sets.test.y.file, objective.evaluation()
    for start in range(len(file.tokens) - 1):
        before = file.tokens[max(0, start - 1) : start + 1]
        rows = np.array([[*before, w] for w in range(256)])
        p, _ = counted.answers(rows.ravel(), np.arange(257) * rows.shape[1])
        logits = torch.from_numpy(np.log(p.reshape(256, -1)[:, -1]))[None, None]
        meters.add(logits, torch.tensor([[int(file.tokens[start + 1])]]))
    assert facts.vocabulary == 256
    expected = {f"test/{name}": value for name, value in meters.result().items()}
    assert {name: value for name, value in found.items() if name.startswith("test/")} == pytest.approx(expected)


def test_a_shuffled_text_has_nothing_to_count(tmp_path):
    """Three letters of a rule tell the next one; in any order they tell no more than how frequent each is."""
    text = "the cat sat on the mat and the rat sat on the cat " * 10
    shuffled = "".join(np.random.default_rng(0).permutation(list(text)))
    alone = -sum(c / len(text) * log2(c / len(text)) for c in Counter(text).values())
    assert metrics_of(tmp_path, text)["test/bits_per_character"] < 0.25 * alone
    assert metrics_of(tmp_path, shuffled)["test/bits_per_character"] > alone


def test_misfits_are_told_before_anything_is_counted(tmp_path):
    spec = experiment_of(SPEC.replace("CONTENT", "abcabcabcabcabcabc").replace("TOKENS", "characters"))
    with pytest.raises(SpecError, match="knn learns a class or numbers for each example, and language tells a token"):
        baselines.run(with_baselines(spec, ["knn", "ngram"]), tmp_path)
    digits = experiment_of("dlx: 1\ndata: digits\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {epochs: 1}\n")
    with pytest.raises(SpecError, match="ngram tells the next token of a text, and the objective is classification"):
        baselines.run(with_baselines(digits, ["ngram"]), tmp_path)
    with pytest.raises(SpecError, match="`k` is of add_k, and `smoothing` is kneser_ney"):
        baselines.run(with_baselines(spec, ["ngram={k: 0.5}"]), tmp_path)


def test_another_loss_is_left_out_and_told(tmp_path):
    text = SPEC.replace("CONTENT", "abcabcabcabcabcabcab" * 4).replace("TOKENS", "characters")
    text = text.replace(
        "objective: language", "objective: {language: {loss: {cross_entropy: {label_smoothing: 0.1}}}}"
    )
    (group,) = baselines.run(experiment_of(text), tmp_path).groups
    assert "test/loss" not in group.runs[0].result.metrics
    assert any("loss not measured" in note for note in group.notes)
