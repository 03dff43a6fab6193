"""Values of unquoted scalars: YAML 1.2's core schema, with digits grouped as in TOML (`100_000`)."""

from __future__ import annotations

import re

from .nodes import MAX_WHOLE, float_of

MOST_DIGITS = 1000
"""Characters of a number that is converted, leading zeros and `_` included; Python refuses 4,300 digits."""
TAG = "tag:yaml.org,2002:"
_DIGITS = "[0-9](?:_?[0-9])*"
_INT = re.compile(f"[-+]?{_DIGITS}")
_BASED = re.compile("0o[0-7](?:_?[0-7])*|0x[0-9a-fA-F](?:_?[0-9a-fA-F])*")
_FLOAT = re.compile(rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}(?:\.(?:{_DIGITS})?)?)(?:[eE][-+]?{_DIGITS})?")
_SIGNS = {"": float("inf"), "+": float("inf"), "-": float("-inf")}
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: value for sign, value in _SIGNS.items() for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def plain_scalar(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar.
    A whole number with too many digits becomes MAX_WHOLE + 1, and one too near to 0 an `Underflow`.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text) if len(text) < MOST_DIGITS else MAX_WHOLE + 1
    if _BASED.fullmatch(text):
        return int(text, 0) if len(text) < MOST_DIGITS else MAX_WHOLE + 1
    return float_of(text) if _FLOAT.fullmatch(text) else text


_TAGGED: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),)}


def tagged_scalar(kind: str, text: str) -> bool | int | float | str | None:
    """Return the value of a scalar with the tag `!!kind`. ValueError where it is not of that kind."""
    value = plain_scalar(text)
    if type(value) not in _TAGGED[kind]:
        raise ValueError(text)
    return float(value) if kind == "float" and isinstance(value, int) else value
