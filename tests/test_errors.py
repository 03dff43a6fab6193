"""Parts of the sentences of errors: names in a row, and whole numbers."""

from decimal import Decimal
from random import Random

import pytest

from dlx.errors import listed, number_text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("", ""),
        ("a", "`a`"),
        ("ab", "`a` and `b`"),
        ("abc", "`a`, `b` and `c`"),
        ("abcd", "`a`, `b`, `c` and `d`"),  # as long as "and 1 more", and says more
        ("abcde", "`a`, `b`, `c` and 2 more"),
        ("a" * 2000, "`a`, `a`, `a` and 1,997 more"),
    ],
)
def test_of_many_names_the_first_are_said_and_how_many_more_there_are(names, text):
    assert listed(names) == listed(iter(names)) == text
    assert listed(names, quote="") == text.replace("`", "")


def test_how_many_names_are_said_is_for_the_sentence_to_choose():
    assert listed("abcdefg", most=5, quote="") == "a, b, c, d, e and 2 more"
    assert listed("abcdef", most=5, quote="") == "a, b, c, d, e and f"


def test_whole_numbers_of_more_than_twenty_digits_are_rounded_and_all_others_exact():
    random = Random(0)
    for _ in range(2000):
        number = random.choice((1, -1)) * random.randrange(10 ** random.randrange(1, 300))
        text = number_text(number)
        if abs(number) < 10**20:
            assert int(text.replace(",", "")) == number
        else:
            unit = Decimal(10) ** (len(str(abs(number))) - 1)
            assert abs(Decimal(text) - number) <= unit / 2000, (number, text)
            assert len(text) <= len("-1.235e+299")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (99_999_999_999_999_999_999, "99,999,999,999,999,999,999"),
        (10**20, "1e+20"),
        (-(10**29), "-1e+29"),
        (129_990_000_000_000_000_000_000, "1.3e+23"),  # cut it would be 1.299e+23
        (999_960_000_000_000_000_000_000, "1e+24"),
        (123_456_789_012_345_678_901_234_567_890, "1.235e+29"),
    ],
)
def test_a_rounded_number_may_get_a_digit_more_and_has_no_zeros_at_its_end(number, text):
    assert number_text(number) == text
