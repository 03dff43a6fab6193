"""A vision transformer on digits: above a linear model of the pixels, and lost where patches have no places."""

import pytest
import torch
from helpers import SHIPPED
from quality import all_of, bounds, unmet
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from dlx.experiment.session import job_of
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAME = "zoo/vit-digits"


def trained(*changes, patches_moved=False):
    job = job_of(prepare(load(SHIPPED[NAME], changes)))
    if patches_moved:  # the 16 patches of each picture, in an order of its own
        rng = torch.Generator().manual_seed(0)
        for part in job.parts.values():
            x = part.x
            patches = x.reshape(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(len(x), 16, 2, 2)
            order = torch.rand(len(x), 16, generator=rng).argsort(1)
            patches = patches[torch.arange(len(x)).unsqueeze(1), order]
            x.copy_(patches.reshape(-1, 4, 4, 2, 2).permute(0, 1, 3, 2, 4).reshape(x.shape))
    return list(fit(job))[-1].metrics


def test_the_claim_is_what_scikit_learn_reaches():
    sets = load(SHIPPED[NAME]).data.load()
    (train, test), y = ([part.x.reshape(len(part.x), -1) for part in (sets.train, sets.test)], sets.train.y)
    linear = [LogisticRegression(C=c, max_iter=5000).fit(train, y).score(test, sets.test.y) for c in (0.1, 1, 10)]
    assert max(linear) == linear[1] == pytest.approx(bounds(NAME)["test/accuracy"]["at_least"], abs=5e-4)
    assert KNeighborsClassifier(1).fit(train, y).score(test, sets.test.y) == pytest.approx(1, abs=5e-4)


@pytest.mark.slow
def test_digits_are_told():
    assert not unmet(NAME, trained())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "moved"), [(["~network.layers.places"], False), ([], True)], ids=["no positions", "patches moved"]
)
def test_a_network_that_knows_no_places_does_not(changes, moved):
    end = trained(*changes, patches_moved=moved)
    assert unmet(NAME, end) == all_of(NAME)
    assert end["test/accuracy"] < 0.85


def test_neither_does_an_untrained_one():
    assert unmet(NAME, trained("train.epochs=1", "train.optimizer.adamw.lr=1e-12")) == all_of(NAME)
