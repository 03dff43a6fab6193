"""Sentiment of reviews from a CSV: negations turn words round, so that counts of words do not tell it."""

import csv
import runpy

import numpy as np
import pytest
from helpers import ROOT, SHIPPED
from quality import all_of, bounds, unmet

from dlx.experiment.session import job_of
from dlx.lazy import torch
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAME = "zoo/sentiment"
MADE = runpy.run_path(str(ROOT / "specs" / "zoo" / "data" / "reviews.py"))
"""The script that writes the reviews."""


def reviews():
    with (ROOT / "specs" / "zoo" / "data" / "reviews.csv").open() as file:
        return [(line["review"], line["opinion"]) for line in csv.DictReader(file)]


def trained(*changes, change=lambda job: None):
    job = job_of(prepare(load(SHIPPED[NAME], changes)))
    change(job)
    return list(fit(job))[-1].metrics


def test_the_file_is_what_its_script_writes():
    assert reviews() == MADE["reviews"](1500, 0)


def test_counts_of_words_tell_no_more_than_chance_to_scikit_learn():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, opinions = zip(*reviews(), strict=True)
    counts = CountVectorizer().fit(texts[:1000])
    fitted = LogisticRegression(max_iter=1000).fit(counts.transform(texts[:1000]), opinions[:1000])
    assert fitted.score(counts.transform(texts[1000:]), opinions[1000:]) == pytest.approx(0.5, abs=0.07)


def test_at_most_three_quarters_follow_from_which_words_there_are():
    """One good word, one bad and one negation: of either opinion. All others are of one."""
    found = {}
    for text, opinion in MADE["reviews"](20_000, 1):
        words = text.split()
        key = tuple(sum(word in MADE[group] for word in words) for group in ("GOOD", "BAD", "NEGATIONS"))
        found.setdefault(key, []).append(opinion == "praises")
    shares = {key: (len(each) / 20_000, float(np.mean(each))) for key, each in found.items()}
    assert sum(n * max(p, 1 - p) for n, p in shares.values()) == pytest.approx(0.75, abs=0.01)
    assert bounds(NAME)["test/accuracy"]["at_least"] > 0.9


def test_the_order_of_the_words_tells_it():
    assert not unmet(NAME, trained())


def shuffle_words(job):
    """Put the words of each review in an order that is drawn; padding stays behind."""
    for part in job.parts.values():
        x = part.fields["review"]
        key = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).masked_fill(x == 0, 2)
        x.copy_(x.gather(1, key.argsort(1)))


def turn_opinions(job):
    y = job.parts["train"].fields["opinion"]
    y.copy_(y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))])


@pytest.mark.parametrize(
    ("change", "most"), [(shuffle_words, 0.8), (turn_opinions, 0.6)], ids=["words in any order", "other opinions"]
)
def test_a_broken_twin_does_not(change, most):
    end = trained(change=change)
    assert unmet(NAME, end) == all_of(NAME)
    assert end["test/accuracy"] < most


def test_padding_behind_the_end_changes_no_answer():
    job = job_of(prepare(load(SHIPPED[NAME])))
    network, x = job.network.eval(), job.parts["test"].fields["review"][:20]
    assert int((x == 0).sum()) > 20
    with torch.inference_mode():
        for row, whole in zip(x, network(x), strict=True):
            alone = network(row[row > 0].unsqueeze(0))
            torch.testing.assert_close(alone[0], whole, atol=1e-5, rtol=1e-5)
