"""Words for what a value must be, from the errors of pydantic."""

from __future__ import annotations

from pydantic_core import ErrorDetails

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
