"""Autocorrelation of values at equal distances."""

import numpy as np
import pytest

from dlx.analysis.measures.autocorrelation import at_lag, autocorrelations, products


def test_they_are_the_means_over_pairs_by_hand():
    found = autocorrelations([1.0, 2.0, 3.0, 4.0])

    # deviations -1.5, -0.5, 0.5, 1.5; variance 1.25; lag 1: (0.75 - 0.25 + 0.75) / 3; lag 2: (-0.75 - 0.75) / 2
    assert found == pytest.approx([1, 1.25 / 3 / 1.25, -0.75 / 1.25])


def test_a_step_in_the_middle_has_a_formula():
    x = np.linspace(-2, 2, 4001)

    found = autocorrelations(np.where(x < 0, -3.0, 7.0))

    # of a step of any height over 4: the pairs of lag l that it parts are l long, of 4 - l
    assert [at_lag(found, 0.001, lag) for lag in (0.25, 1)] == pytest.approx([13 / 15, 1 / 3], abs=2e-3)


def test_noise_has_none_and_a_wave_comes_back():
    x = np.linspace(0, 20, 2001)

    assert abs(autocorrelations(np.random.default_rng(0).normal(size=4000))[1:50]).max() < 0.1
    assert at_lag(autocorrelations(np.sin(2 * np.pi * x)), 0.01, 1.0) == pytest.approx(1, abs=1e-3)


def test_they_are_those_of_a_double_loop_over_all_rows():
    rows = np.random.default_rng(1).normal(size=(3, 9)).cumsum(1)

    found = products(rows)

    for lag in range(5):
        pairs = [row[i] * row[i + lag] for row in rows for i in range(9 - lag)]
        assert found[lag] == pytest.approx(np.mean(pairs) / np.mean(rows**2))


def test_a_constant_has_none():
    assert np.isnan(autocorrelations([2.0] * 20)).all()
