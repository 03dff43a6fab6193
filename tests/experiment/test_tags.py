"""A tag for each word of a sentence: learned from the words around it, within what the generating model allows."""

import runpy

import numpy as np
import pytest
from helpers import ROOT, SHIPPED
from quality import all_of, bounds, unmet

from dlx.experiment.session import job_of
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAME = "zoo/tags"
MADE = runpy.run_path(str(ROOT / "specs" / "zoo" / "data" / "tags.py"))
"""The script that writes the sentences."""


def accuracies(words, tags):
    """By each word alone, by those up to it, by those from it on, and by all: forward-backward."""
    given, after, start = MADE["emissions"](), np.array(MADE["NEXT"]), np.array(MADE["START"])
    there = tags >= 0
    likely = np.where(there[:, :, None], given[:, words].transpose(1, 2, 0), 1)
    before, behind = np.zeros_like(likely), np.ones_like(likely)
    for i in range(words.shape[1]):
        before[:, i] = (before[:, i - 1] @ after if i else start) * likely[:, i]
        before[:, i] /= before[:, i].sum(1, keepdims=True)
    for i in reversed(range(words.shape[1] - 1)):
        behind[:, i] = (behind[:, i + 1] * likely[:, i + 1]) @ after.T
        behind[:, i] /= behind[:, i].sum(1, keepdims=True)
    counts = np.zeros_like(given)
    np.add.at(counts, (tags[there], words[there]), 1)
    each = counts.T[words], before, behind * likely, before * behind
    return [(one.argmax(2) == tags)[there].mean() for one in each]


def test_the_claims_are_what_the_generating_model_allows():
    found = accuracies(*MADE["sentences"](6000, np.random.default_rng(9)))
    assert found == pytest.approx([0.607, 0.770, 0.787, 0.874], abs=4e-3)
    claimed = bounds(NAME)["test/accuracy"]
    assert claimed["at_least"] == 0.787
    deviation = 0.0057  # over 300 tests of 400 sentences, in which neighbours are not independent
    assert 0.874 + 3.09 * deviation == pytest.approx(claimed["at_most"], abs=1e-3)
    sets = load(SHIPPED[NAME]).data.load()
    assert accuracies(sets.test.x.astype(int), sets.test.y)[3] < claimed["at_most"]


def test_the_file_is_what_its_script_writes():
    with np.load(ROOT / "specs" / "zoo" / "data" / "tags.npz") as kept:
        for name, array in MADE["arrays"]().items():
            assert kept[name].dtype == array.dtype
            assert np.array_equal(kept[name], array)


def trained(*changes, shuffled=False):
    made = prepare(load(SHIPPED[NAME], changes))
    job = job_of(made)
    if shuffled:  # each sentence has the tags of another one
        tags = job.parts["train"].fields[made.sets.named("target")[0]]
        tags.copy_(tags.roll(1, 0))
    return list(fit(job))[-1].metrics


def test_tags_are_learned_from_the_words_on_both_sides():
    assert not unmet(NAME, trained())


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        (["~network.layers.1"], 0.63),  # no word but the own: 0.607 at best
        (["network.layers.1.gru.bidirectional=false"], 0.787),  # none behind the own: 0.770 at best
        (["train.optimizer.adam.lr=1e-12", "train.epochs=1"], 0.4),
    ],
    ids=["the own word", "the words before", "untrained"],
)
def test_a_network_that_sees_less_does_not(changes, most):
    end = trained(*changes)
    assert unmet(NAME, end) == all_of(NAME)
    assert end["test/accuracy"] < most


def test_neither_do_tags_of_other_sentences():
    end = trained(shuffled=True)
    assert unmet(NAME, end) == all_of(NAME)
    assert end["test/accuracy"] < 0.4
