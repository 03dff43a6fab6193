"""Words for what a value must be, from the errors of pydantic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from ..errors import shortened
from ..registry import A_LIST, A_NUMBER

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a word",
    "string_too_short": "a text that is not empty",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "path_type": "a path",
    "none_required": "null",
}


_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
    "too_short": ("min_length", "a list of at least"),
    "too_long": ("max_length", "a list of at most"),
}


SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Words that were true and false in YAML 1.1."""


def of_switch(word: str, name: str = "") -> str:
    """Return the hint about a word of SWITCHES, of the argument `name` where it is a plain one."""
    meant = SWITCHES[word.lower()]
    return f"`{word}` is a word in YAML 1.2: write `{f'{name}: {meant}' if name.isidentifier() else meant}`."


def expected(detail: ErrorDetails) -> str:
    """Return what a value must be, as a sentence has it: `a whole number`, `at least 1`."""
    kind, ctx = detail["type"], detail.get("ctx", {})
    if kind in _LIMITS:
        key, word = _LIMITS[kind]
        return f"{word} {ctx[key]:{',' if isinstance(ctx[key], int) else 'g'}}"
    if kind in {"literal_error", "enum"}:
        return str(ctx["expected"]).replace("'", '"')
    return _KINDS.get(kind, detail["msg"].removeprefix("Input should be ").removeprefix("Value error, "))


def of_own_type(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Return the errors of the branches of a union that have the value's type and a limit it exceeds; else all."""
    return [d for d in details if d["type"] in _LIMITS or d["type"] == "finite_number"] or details


def way_out(value: Any, name: str, kinds: set[str], hints: Mapping[str, str]) -> str:
    """Return the hint about a value of a wrong type, by what it looks like; empty where it looks like nothing known.

    `kinds` are the types of pydantic's errors, `hints` are about words that users expect the field to take.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and A_NUMBER in hints:
        return hints[A_NUMBER]
    if isinstance(value, list) and A_LIST in hints:
        return hints[A_LIST]
    if "list_type" in kinds and len(kinds) == 1 and isinstance(value, str | dict):
        items = value if isinstance(value, str) else ", ".join(f"{key}: ..." for key in value)
        return f"Several stand in a list, and one does too: `{name}: [{shortened(items, 50)}]`."
    return hints.get(value) or _of_text(value, kinds) if isinstance(value, str) else ""


def _of_text(value: str, kinds: set[str]) -> str:
    """Return the hint about a text: a stray quote, per cent, a number in quotes."""
    if "bool_type" in kinds and value.lower() in SWITCHES:
        return of_switch(value)
    if value[-1:] in {'"', "'"} and value.count(value[-1]) == 1:
        return f"Drop the quote `{value[-1]}` at its end, or write one before it."
    if re.fullmatch(r"\$?\w+|\$?\{+\w+\}+|\$\(.*\)", value) and value[0] in "${":
        return f"An expression is `${{{value.strip('${}()')}}}`."
    if re.fullmatch(r"[\d.]+ *[-+*/] *[\d.]+", value):
        return "Arithmetic stands inside `${...}` as a whole: `${a + 1}`."
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value):
        return f"Write {float(found[1]) / 100:g}."
    number = re.fullmatch(r"[\d_]+(?:\.\d*)?(?:[eE][+-]?\d+)?", value)
    return "Write it without quotes." if number and kinds & {"int_type", "float_type"} else ""
