"""Unquoted scalars: YAML 1.2's core schema, with single underscores between digits."""

import math
import re
from itertools import product

import pytest

from dlx.spec.syntax.read import plain_scalar

CORE = (
    (re.compile(r"null|Null|NULL|~|"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?(\.inf|\.Inf|\.INF)"), lambda text: -math.inf if text[0] == "-" else math.inf),
    (re.compile(r"\.nan|\.NaN|\.NAN"), lambda text: math.nan),
)
"""https://yaml.org/spec/1.2.2/#1032-tag-resolution, line by line."""


def by_the_core_schema(text):
    """What the specification says of a text, once `_` between two digits is taken away."""
    digit = "[0-9a-fA-F]" if text.startswith("0x") else "[0-9]"
    bare = re.sub(f"(?<={digit})_(?={digit})", "", text)
    for pattern, meaning in CORE:
        if pattern.fullmatch(bare):
            return meaning(bare)
    return text


def differences(letters, length):
    """Strings of up to `length` letters that are read otherwise than the core schema has them, and how many agree."""
    found, agreed = [], 0
    for size in range(length + 1):
        for word in map("".join, product(letters, repeat=size)):
            got, wanted = plain_scalar(word), by_the_core_schema(word)
            if type(got) is type(wanted) and repr(got) == repr(wanted):
                agreed += 1
            else:
                found.append((word, got, wanted))
    return found, agreed


def test_every_text_of_four_letters_is_what_the_core_schema_says():
    found, agreed = differences("0178_.eE+-xoaf", 4)
    assert found == []
    assert agreed == sum(14**n for n in range(5))


@pytest.mark.slow
def test_every_text_of_five_letters_is_what_the_core_schema_says():
    found, agreed = differences("0178_.eE+-xoaf", 5)
    assert found == []
    assert agreed == sum(14**n for n in range(6))


@pytest.mark.parametrize("sign", ["", "+", "-"])
@pytest.mark.parametrize("word", [".inf", ".Inf", ".INF"])
def test_an_infinity_has_any_sign_and_three_spellings(sign, word):
    assert plain_scalar(sign + word) == (-math.inf if sign == "-" else math.inf)


@pytest.mark.parametrize("word", [".iNF", "inf", "+.nan", "-.NaN", ".infinity", "1_.5", "3_.", "0_.", "8_e6", "0._5"])
def test_what_is_nearly_a_number_is_a_word(word):
    assert plain_scalar(word) == word
