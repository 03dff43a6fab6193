"""Nearest neighbours in an embedding: by hand, and of the words of a small grammar."""

import json
import math
import runpy
from collections import Counter, defaultdict

import numpy as np
import pytest
from helpers import ROOT, SHIPPED
from quality import all_of, bounds, unmet

from dlx.cli import app
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.spec import load
from dlx.trained.neighbours import neighbours

NAME = "zoo/word-embeddings"
MADE = runpy.run_path(str(ROOT / "specs" / "zoo" / "data" / "contexts.py"))
CLASSES = MADE["CLASSES"]
OF_WORD = {word: name for name, words in CLASSES.items() for word in words}
SPEC = """
dlx: 1
name: a
data: {text: {content: abcabcabc, window: 2}}
network:
  layers:
    - {embedding: {embedding_dim: 2}, values: {weight: [[1, 0], [1, 1], [-3, 0.1]]}}
    - linear: "${data.vocabulary}"
objective: language
train: {steps: 1, batch_size: 2, device: cpu, optimizer: {sgd: {lr: 0}}}
track: {mlflow: false}
"""


def run_of(folder, spec, *changes):
    return runner.run(load(spec, changes), folder / "runs").results[0].run


@pytest.fixture
def by_hand(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(SPEC)
    return run_of(tmp_path, file)


def test_they_are_ordered_by_the_cosine(by_hand):
    found = neighbours(by_hand, "a")
    assert [one.token for one in found.nearest] == ["b", "c"]
    cosines = [one.similarity for one in found.nearest]
    assert cosines == pytest.approx([1 / np.sqrt(2), -3 / np.hypot(3, 0.1)])
    assert [one.token for one in neighbours(by_hand, "a", 1).nearest] == ["b"]


def test_the_command_prints_a_word_a_line_and_a_document(by_hand, tmp_path, capsys):
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            app(["neighbours", "a", "--of", "a", "--runs", str(tmp_path / "runs"), *more])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        if more:
            assert [one["token"] for one in json.loads(printed)["nearest"]] == ["b", "c"]
        else:
            assert printed == "b  0.707\nc  -0.999\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"of": "z"}, "`z` is no token of"),
        ({"of": "a", "n": 0}, "--n is 0"),
        ({"of": "a", "layer": "linear_1"}, "`linear_1` is no embedding of a text in"),
    ],
)
def test_what_is_not_there_is_said(by_hand, options, sentence):
    with pytest.raises(DlxError) as refused:
        neighbours(by_hand, **options)
    assert sentence in str(refused.value)


def share_of_own_class(run):
    """The share of words whose nearest neighbour is of their class."""
    return np.mean([OF_WORD.get(neighbours(run, word, 1).nearest[0].token) == OF_WORD[word] for word in OF_WORD])


def test_the_file_of_contexts_is_what_its_script_writes():
    lines = (ROOT / "specs" / "zoo" / "data" / "contexts.csv").read_text().splitlines()
    assert lines == ["context,word", *(",".join(row) for row in MADE["contexts"](600, 0))]


def test_counts_of_words_that_stand_together_put_classes_together_too():
    """The second source: positive pointwise mutual information (Levy & Goldberg 2014), which such vectors factor."""
    rows = MADE["contexts"](600, 0)
    words = sorted({word for _, word in rows})
    counts = np.zeros((len(words), len(words)))
    for context, word in rows:
        for other in context.split():
            counts[words.index(word), words.index(other)] += 1
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    vectors = np.maximum(np.log(np.maximum(counts, 1e-9) / expected), 0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors.T - 2 * np.eye(len(words))
    own = [OF_WORD.get(words[near[words.index(word)].argmax()]) == name for word, name in OF_WORD.items()]
    assert np.mean(own) > 0.9


def test_the_claim_is_what_a_table_of_the_first_word_of_the_context_takes():
    beside = defaultdict(Counter)
    rows = MADE["contexts"](600, 0)
    for context, word in rows:
        beside[context.split()[0]][word] += 1
    nats = -sum(n * math.log(n / sum(one.values())) for one in beside.values() for n in one.values()) / len(rows)
    assert bounds(NAME)["train/loss"]["at_most"] == pytest.approx(nats, abs=2e-3)


def test_words_beside_the_contexts_of_others_are_not_told(tmp_path):
    """The broken twin: each context has the word of another one."""
    rows = MADE["contexts"](600, 0)
    (tmp_path / "data").mkdir()
    mixed = [f"{context},{rows[(7 * i + 100) % len(rows)][1]}" for i, (context, _) in enumerate(rows)]
    (tmp_path / "data" / "contexts.csv").write_text("\n".join(["context,word", *mixed]))
    (tmp_path / "twin.yaml").write_text(SHIPPED[NAME].read_text())
    metrics = [
        runner.run(load(path, ["track.mlflow=false"]), tmp_path / "runs").results[0].metrics
        for path in (SHIPPED[NAME], tmp_path / "twin.yaml")
    ]
    assert not unmet(NAME, metrics[0])
    assert unmet(NAME, metrics[1]) == all_of(NAME)


def test_words_of_a_class_are_neighbours_and_those_of_an_untrained_network_are_not(tmp_path):
    assert share_of_own_class(run_of(tmp_path / "a", SHIPPED[NAME], "track.mlflow=false")) > 0.9
    untrained = run_of(tmp_path / "b", SHIPPED[NAME], "track.mlflow=false", "train.optimizer.adam.lr=1e-12")
    assert share_of_own_class(untrained) < 0.4
