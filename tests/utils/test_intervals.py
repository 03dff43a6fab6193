"""Intervals of means: the quantiles of Student's t."""

import pytest

from dlx.utils.intervals import QUANTILES, student_t_quantile


def test_quantiles_of_few_degrees_of_freedom_are_those_of_scipy():
    special = pytest.importorskip("scipy.special")
    assert list(QUANTILES) == pytest.approx([special.stdtrit(n, 0.975) for n in range(1, 20)], rel=1e-14)
    assert [student_t_quantile(n) for n in range(1, 20)] == list(QUANTILES)


def test_degrees_of_freedom_beyond_the_table_and_between_its_lines_have_quantiles_too():
    assert student_t_quantile(20) == pytest.approx(2.085963447, rel=1e-9)
    assert student_t_quantile(2) > student_t_quantile(2.5) > student_t_quantile(3)
