"""Peaks, power laws and stops of curves that are known."""

from __future__ import annotations

import pytest

from dlx.analysis.measures.curves import first_from, power_law, second_descent, stops_at


def test_the_peak_between_two_descents_is_found() -> None:
    found = second_descent([5.0, 2.0, 6.0, 4.0, 1.0])
    assert (found.peak, found.rise, found.fall) == (2, 4.0, 5.0)


@pytest.mark.parametrize("errors", [[5.0, 4.0, 3.0], [3.0, 2.0, 4.0, 5.0], [1.0]])
def test_one_descent_or_a_rise_is_no_peak(errors: list[float]) -> None:
    found = second_descent(errors)
    assert (found.rise, found.fall) == (0.0, 0.0)


def test_a_power_law_is_read_off() -> None:
    found = power_law([1, 10, 100], [2.0, 0.2, 0.02])
    assert found is not None
    assert found.factor == pytest.approx(2)
    assert found.exponent == pytest.approx(1)
    assert found.explained == pytest.approx(1)
    assert found.at(1000) == pytest.approx(0.002)


def test_errors_of_zero_have_no_logarithm() -> None:
    assert power_law([1, 10], [1.0, 0.0]) is None


def test_an_exponential_is_no_power_law() -> None:
    found = power_law([1, 2, 4, 8, 16, 32], [2.0**-x for x in (1, 2, 4, 8, 16, 32)])
    assert found is not None
    assert found.explained < 0.9


def test_the_first_step_from_which_a_bound_holds() -> None:
    assert first_from([0.1, 0.99, 0.5, 0.99, 1.0], [1, 2, 3, 4, 5], 0.95) == 4
    assert first_from([0.1, 0.2], [1, 2], 0.95) is None


def test_patience_counts_evaluations_without_a_new_best() -> None:
    values = [3.0, 2.0, 2.5, 2.4, 1.0]
    assert stops_at(values, 2) == 3
    assert stops_at(values, 3) == 4
    assert stops_at([-one for one in values], 2, rises=True) == 3
