"""Bias and variance beside formulas of least squares, and beside a count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dlx.analysis.measures.decomposition import of_classes, of_squares


def test_bias_and_variance_by_hand() -> None:
    # two networks answer 1 and 3 for 5: variance (1 + 1) / 1, bias (2 - 5)^2 - 2 / 2, error (16 + 4) / 2
    found = of_squares(np.array([[1.0], [3.0]]), np.array([5.0]))
    assert (found.variance, found.bias, found.error) == (2.0, 8.0, 10.0)


def test_the_parts_of_a_squared_error_add_up_to_it() -> None:
    rng = np.random.default_rng(0)
    found = of_squares(rng.normal(size=(7, 50, 3)), rng.normal(size=(50, 3)))
    assert found.bias + found.variance == pytest.approx(found.error, rel=1e-12)


def test_least_squares_has_the_variance_of_the_formula_and_no_bias() -> None:
    """sigma^2 x (X'X)^-1 x', at fixed inputs; a fit without one of the inputs is biased."""
    rng = np.random.default_rng(0)
    x, w, sigma = rng.normal(size=(40, 5)), np.arange(1.0, 6.0), 0.5
    fits = [x @ np.linalg.lstsq(x, x @ w + sigma * rng.normal(size=40), rcond=None)[0] for _ in range(4000)]
    found = of_squares(np.stack(fits), x @ w)
    assert found.variance == pytest.approx(sigma**2 * 5 / 40, rel=0.03)  # the trace of the projection is p
    assert abs(found.bias) < 1e-4
    less = x[:, :4]
    poor = [less @ np.linalg.lstsq(less, x @ w + sigma * rng.normal(size=40), rcond=None)[0] for _ in range(50)]
    assert of_squares(np.stack(poor), x @ w).bias > 10


def test_classes_by_hand() -> None:
    # of three networks: main predictions 0, 1, 1 for the classes 0, 1, 2
    predictions = np.array([[0, 1, 1], [0, 1, 1], [1, 0, 2]])
    found = of_classes(predictions, np.array([0, 1, 2]))
    assert found.bias == pytest.approx(1 / 3)
    assert found.variance == pytest.approx(2 / 9)  # the third network on the first two examples
    assert found.correction == pytest.approx(1 / 9)  # and on the last, where the main prediction is wrong
    assert found.error == pytest.approx(found.bias + found.variance - found.correction)


def test_one_network_has_no_variance() -> None:
    with pytest.raises(ValueError, match="variance is between networks, and there is 1"):
        of_squares(np.zeros((1, 3)), np.zeros(3))
