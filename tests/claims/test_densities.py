"""What specs of densities claim, computed otherwise: by scikit-learn and by formulas on the same data."""

import numpy as np
import pytest
from helpers import SHIPPED
from quality import bounds
from sklearn.linear_model import LogisticRegression

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


@pytest.mark.slow
def test_no_other_strength_of_the_penalty_is_better():
    train, test = pixels("zoo/made")
    found = max(of_logistic_regressions(train, test, strength) for strength in (0.1, 0.3, 3))
    assert found < bounds("zoo/made")["test/log_likelihood"]["at_least"]
