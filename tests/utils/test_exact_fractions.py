"""Shares of whole numbers are those of the decimals that were written, not of the floats nearest to them."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

import pytest

from dlx.averages import AVERAGES
from dlx.data.splits import part_size
from dlx.schedules import Timeline
from dlx.spec.sections.batch_schedule import BatchSchedule
from dlx.spec.sections.sweep_values import NumberRange
from dlx.utils.exact_fractions import rational, rounded_down, rounded_up


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (0.1, Fraction(1, 10)),
        (0.29, Fraction(29, 100)),
        (1 / 3, Fraction(1, 3)),
        (0.3333, Fraction(3333, 10_000)),
        (1e-5, Fraction(1, 100_000)),
        (0.123456789, Fraction(123456789, 10**9)),
        (5e-324, Fraction(5, 10**324)),
        (7, Fraction(7)),
        (10**400, Fraction(10**400)),
    ],
)
def test_a_float_is_the_number_that_was_written(value, meant):
    assert rational(value) == meant


def test_shares_of_two_decimals_are_those_of_decimal_arithmetic():
    for hundredths in range(1, 100):
        share, exact = hundredths / 100, Decimal(hundredths) / 100
        for of in (1, 3, 7, 10, 30, 49, 100, 999, 60_000):
            assert rounded_up(share, of) == int((exact * of).to_integral_value(ROUND_CEILING)), (share, of)
            assert rounded_down(share, of) == int((exact * of).to_integral_value(ROUND_FLOOR)), (share, of)


def test_an_average_begins_at_its_share_of_the_updates():
    for start, steps, first in [(0.07, 100, 7), (0.55, 100, 55), (0.28, 25, 7), (0.7, 12, 9)]:
        for kind in ("polyak", "swa"):
            average, span = AVERAGES[kind](start=start), Timeline(steps, 1)
            assert next(s for s in range(1, steps + 1) if average.share(s, 0, span) is not None) == first, kind


def test_a_part_of_the_data_is_rounded_down_from_its_share():
    assert part_size(0.29, 100, "valid") == 29
    assert part_size(0.9999999, 10, "valid") == 9
    assert part_size(1 / 3, 30, "valid") == 10


def test_a_batch_grows_by_the_factor_that_was_written():
    grown = [BatchSchedule(milestones=[1], factor=1.1).size(first, 1) for first in (10, 25, 65, 85)]
    assert grown == [11, 28, 72, 94]  # 11, 27.5, 71.5 and 93.5: of halves the even one
    assert BatchSchedule(milestones=[1, 2], factor=1.1).size(50, 2) == 60  # 60.5


def test_steps_of_a_range_are_exact_beyond_28_digits():
    large = 10**30
    assert list(NumberRange("k", large + 1, large + 3, 1)) == [large + 1, large + 2, large + 3]
    assert list(NumberRange("k", 0.1, 0.4, 0.1)) == [0.1, 0.2, 0.3, 0.4]
