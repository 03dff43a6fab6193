"""The pinball loss of quantiles."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import mean_pinball_loss

from dlx.losses import LOSSES
from dlx.shapes import Shape


def test_by_hand():
    """Of a target 10: a forecast of 8 at q = 0.9 costs 0.9 * 2, one of 13 costs 0.1 * 3."""
    loss = LOSSES["pinball"](quantiles=[0.9]).function()
    assert float(loss(torch.tensor([[8.0]]), torch.tensor([[10.0]]))) == pytest.approx(1.8)
    assert float(loss(torch.tensor([[13.0]]), torch.tensor([[10.0]]))) == pytest.approx(0.3)


def test_it_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    quantiles, y, output = [0.1, 0.5, 0.8], rng.normal(size=(50, 2)), rng.normal(size=(50, 6))
    found = LOSSES["pinball"](quantiles=quantiles).function()(torch.tensor(output), torch.tensor(y))
    each = [mean_pinball_loss(y, output[:, 2 * i : 2 * i + 2], alpha=q) for i, q in enumerate(quantiles)]
    assert float(found) == pytest.approx(np.mean(each))


def test_the_best_constant_is_the_quantile():
    """Of 0, 1, ..., 99 nine tenths are below 89 or 90: no other constant costs less."""
    y = torch.arange(100.0)[:, None]
    loss = LOSSES["pinball"](quantiles=[0.9]).function()
    costs = [float(loss(torch.full_like(y, c), y)) for c in range(100)]
    assert int(np.argmin(costs)) in (89, 90)


def test_the_median_is_predicted():
    loss = LOSSES["pinball"](quantiles=[0.1, 0.5, 0.9])
    assert loss.outputs(Shape((2,))) == Shape((6,))
    assert loss.predict(torch.arange(6.0)[None]).tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("quantiles", "says"),
    [
        ([0.9, 0.5], "quantiles ascend, and these are .*: sort them"),
        ([0.1, 0.9], "the median is predicted: add 0.5"),
        ([0.0], "greater than 0"),
    ],
)
def test_quantiles_that_are_none(quantiles, says):
    with pytest.raises(ValidationError, match=says):
        LOSSES["pinball"](quantiles=quantiles)
