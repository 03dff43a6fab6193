"""Centred kernel alignment of features."""

from itertools import permutations

import numpy as np
import pytest

from dlx.analysis.measures.similarity import biased_hsic, gram, linear_cka, unbiased_hsic


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_features_are_fully_alike_after_a_rotation_a_multiple_and_a_shift(rng):
    x = rng.standard_normal((40, 5))
    rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))

    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, x @ np.diag([1, 1, 1, 1, 30.0])) < 0.7  # another scale of one feature is no rotation


def test_the_formula_over_features_agrees_with_the_one_over_examples(rng):
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 6))
    y[:, 0] = x[:, 0]
    a, b = x - x.mean(0), y - y.mean(0)

    by_features = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))

    assert linear_cka(x, y) == pytest.approx(by_features, rel=1e-12)


def test_one_feature_each_gives_the_square_of_their_correlation():
    x, y = np.array([[1.0], [2], [4]]), np.array([[1.0], [3], [2]])

    assert linear_cka(x, y) == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2)
    assert linear_cka(x, y) == pytest.approx(3 / 28)  # by hand: (sum 1)^2 / (14/3 * 2) of deviations


def test_the_unbiased_estimate_is_the_mean_over_four_different_examples(rng):
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((6, 3))
    k, other = x @ x.T, y @ y.T  # not centred: the estimate does not depend on it
    terms = [k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]) for i, j, q, r in permutations(range(6), 4)]

    assert unbiased_hsic(gram(x), gram(y)) / (6 * 3) == pytest.approx(np.mean(terms))


def test_many_features_of_few_examples_look_alike_unless_the_estimate_is_unbiased(rng):
    pairs = [(rng.standard_normal((20, 400)), rng.standard_normal((20, 400))) for _ in range(10)]

    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.9
    assert abs(np.mean([linear_cka(x, y, debiased=True) for x, y in pairs])) < 0.02


def test_features_that_do_not_vary_have_no_alignment():
    assert np.isnan(linear_cka(np.ones((5, 2)), np.arange(10.0).reshape(5, 2)))


def test_images_count_as_their_values(rng):
    x = rng.standard_normal((8, 2, 3, 3))

    assert biased_hsic(gram(x), gram(x)) == pytest.approx(np.linalg.norm(np.cov(x.reshape(8, -1).T) * 7) ** 2)
