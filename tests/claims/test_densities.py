"""What specs of densities claim, computed otherwise: by scikit-learn and by formulas on the same data."""

from itertools import combinations

import numpy as np
import pytest
from helpers import SHIPPED
from quality import bounds
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

from dlx.spec import load


def pixels(name):
    """Binary pixels of the training and test part, (n, D)."""
    sets = load(SHIPPED[name]).data.load()
    return (np.round(part.x.reshape(len(part.x), -1)).astype(int) for part in (sets.train, sets.test))


def of_logistic_regressions(train, test, strength):
    """The mean log-likelihood of one logistic regression a pixel on those before it; of the share where it is one."""
    found = 0.0
    for i in range(train.shape[1]):
        y = train[:, i]
        if not i or y.min() == y.max():
            one = np.full(len(test), (y.sum() + 1) / (len(y) + 2))
        else:
            one = LogisticRegression(C=strength, max_iter=500).fit(train[:, :i], y).predict_proba(test[:, :i])[:, 1]
        found += np.log(np.where(test[:, i] == 1, one, 1 - one)).mean()
    return found


def test_digits_by_logistic_regressions_of_each_pixel_on_those_before_it():
    train, test = pixels("zoo/made")
    share = (train.sum(0) + 1) / (len(train) + 2)
    alone = (test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean()
    found = of_logistic_regressions(train, test, 1)

    assert bounds("zoo/made")["test/log_likelihood"]["at_least"] == pytest.approx(found, abs=5e-3)
    assert found > alone + 6


def of_a_tree(train, test, more=0.5):
    """The mean log-likelihood of the tree of pixels whose pairs have the largest mutual information in all."""
    n, size = train.shape

    def pair(i, j):
        counts = np.full((2, 2), more)
        np.add.at(counts, (train[:, i], train[:, j]), 1)
        return counts / counts.sum()

    mutual = np.zeros((size, size))
    for i, j in combinations(range(size), 2):
        p = pair(i, j)
        mutual[i, j] = mutual[j, i] = (p * np.log(p / p.sum(1, keepdims=True) / p.sum(0))).sum()
    first = (np.bincount(train[:, 0], minlength=2) + more) / (n + 2 * more)
    found, inside, rest = np.log(first[test[:, 0]]), [0], set(range(1, size))
    while rest:
        i, j = max(((i, j) for i in inside for j in rest), key=lambda edge: mutual[edge])
        p = pair(i, j)
        found = found + np.log((p / p.sum(1, keepdims=True))[test[:, i], test[:, j]])
        inside.append(j)
        rest.remove(j)
    return found.mean()


def test_digits_by_the_tree_of_chow_and_liu():
    found = of_a_tree(*pixels("zoo/pixelcnn"))
    assert bounds("zoo/pixelcnn")["test/log_likelihood"]["at_least"] == pytest.approx(found, abs=5e-3)


def test_moons_by_mixtures_of_normal_distributions_and_by_their_own_density():
    sets, claimed = load(SHIPPED["zoo/flow"]).data.load(), bounds("zoo/flow")["test/log_likelihood"]
    mixture = GaussianMixture(4, n_init=3, random_state=0).fit(sets.train.x)
    assert claimed["at_least"] == pytest.approx(mixture.score(sets.test.x), abs=5e-3)
    assert GaussianMixture(1).fit(sets.train.x).score(sets.test.x) < claimed["at_least"] - 0.5

    angle = (np.arange(1000) + 0.5) / 1000 * np.pi
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    centres = np.concatenate([upper, [1, 0.5] - upper])
    apart = ((sets.test.x[:, None] - centres) ** 2).sum(-1) / 0.1**2
    each = logsumexp(-apart / 2, 1) - np.log(len(centres) * 2 * np.pi * 0.1**2)
    error = each.std() / np.sqrt(len(each))
    assert claimed["at_most"] == pytest.approx(each.mean() + 3.3 * error, abs=5e-3)


def test_grey_digits_by_the_counts_of_each_pixel():
    sets = load(SHIPPED["zoo/realnvp-digits"]).data.load()
    train, test = (np.round(part.x.reshape(len(part.x), -1) * 16).astype(int) for part in (sets.train, sets.test))
    p = np.stack([np.bincount(pixel, minlength=17) + 1 for pixel in train.T]) / (len(train) + 17)
    found = np.log(p[np.arange(64), test]).sum(1).mean()
    assert bounds("zoo/realnvp-digits")["test/log_likelihood"]["at_least"] == pytest.approx(found, abs=5e-3)


@pytest.mark.slow
def test_no_other_strength_of_the_penalty_is_better():
    train, test = pixels("zoo/made")
    found = max(of_logistic_regressions(train, test, strength) for strength in (0.1, 0.3, 3))
    assert found < bounds("zoo/made")["test/log_likelihood"]["at_least"]
