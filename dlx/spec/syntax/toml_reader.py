"""Parser of TOML to nodes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

from ...errors import Mark, Problem, SpecError
from .nodes import MAX_DEPTH, Node, float_of, refuse_out_of_range, too_large_number
from .toml_hints import way_out
from .toml_positions import key_marks
from .yaml_causes import cause_before

_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def parse_toml(text: str, file: str) -> Node:
    """Parse a TOML document. SpecError where it is malformed."""
    try:
        values = tomllib.loads(text, parse_float=float_of)
    except tomllib.TOMLDecodeError as error:
        found = _AT.match(str(error))
        lines = text.split("\n")
        # Python 3.11 reports positions in the message only, and none at the end of the document.
        where = (int(found[2]), int(found[3])) if found and found[2] else (len(lines), len(lines[-1]) + 1)
        what = found[1] if found else str(error)
        index = sum(len(line) + 1 for line in lines[: where[0] - 1]) + where[1] - 1
        hint = way_out(what, text, index)
        if what == "Unclosed array" and (cause := cause_before(text.replace("=", ":"), index + 1)) is not None:
            what, hint = cause.message, cause.hint
            where = (text.count("\n", 0, cause.index) + 1, cause.index - text.rfind("\n", 0, cause.index))
        raise SpecError(Problem(f"is not valid TOML: {what}", hint, Mark(file, *where))) from error
    except ValueError as error:  # Python's own bound on the digits of a number
        raise SpecError(too_large_number(_place_of_digits(text, file))) from error
    except RecursionError as error:
        raise SpecError(Problem(f"is nested more than {MAX_DEPTH} deep", "", Mark(file, 1, 1))) from error
    marks = {path: Mark(file, *place) for path, place in key_marks(text).items()}
    return _from_toml(values, (), marks, Mark(file, 1, 1))


def _from_toml(value: Any, path: tuple[str | int, ...], marks: dict[tuple[str | int, ...], Mark], near: Mark) -> Node:
    if len(path) > MAX_DEPTH:
        raise SpecError(Problem(f"is nested more than {MAX_DEPTH} deep", "", near))
    mark = marks.get(path, near)
    below: Callable[[Any, str | int], Node] = lambda child, key: _from_toml(child, (*path, key), marks, mark)  # noqa: E731
    if isinstance(value, dict):
        return Node({key: below(child, key) for key, child in value.items()}, mark)
    if isinstance(value, list):
        return Node([below(child, index) for index, child in enumerate(value)], mark)
    if not isinstance(value, bool | int | float | str):
        raise SpecError(Problem("a spec has no dates and times", "Put it in quotes.", mark))
    refuse_out_of_range(value, mark)
    return Node(value, mark)


def _place_of_digits(text: str, file: str) -> Mark:
    """Return the mark of the first number of 1,000 digits or more, which Python refuses without a position."""
    found = re.search(r"[0-9](?:_?[0-9]){999}", text)
    before = text[: found.start() if found else 0]
    return Mark(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
