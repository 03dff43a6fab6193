"""The mistake in a text that is not YAML: its place, and the way out, guessed from the lines before the error."""

from __future__ import annotations

import re

import yaml

from ...errors import Mark, Problem
from .yaml_causes import cause_before

COMMA = "Inside {...} and [...] a comma stands between two entries, and a text with `: ` wants quotes."
ANCHOR = "The name of an anchor is letters, digits, `-` and `_`; a text that begins with `*` or `&` wants quotes."
_NO_SPACE = re.compile(r"\s*(?:- )?([\w.]+):[^\s/:]")
_NO_COLON = re.compile(r"\s*(\w+)$|\s*- (\w+) *\{.*$|\s*(?:- )?(\w+) +[^\s:][^:]*$")
_BARE = re.compile(r"\s*- (\w+)\n\s*(?:name|from|when|values|tie):")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")


def problem_of(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """Return the mistake behind an error of libyaml, which often stops on a line after it."""
    place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).split("\n")[0]
    if place is None:
        return Problem(f"is not valid YAML: {what}", "", Mark(file, 1, 1))
    lines = text.split("\n")[: place.line + 1]
    if (cause := cause_before(text, sum(len(line) + 1 for line in lines))) is not None:
        line, column = text.count("\n", 0, cause.index) + 1, cause.index - text.rfind("\n", 0, cause.index)
        return Problem(f"is not valid YAML: {cause.message}", cause.hint, Mark(file, line, column))
    line, column, hint = _way_out(what, lines, place.column)
    return Problem(f"is not valid YAML: {what}", hint, Mark(file, line, column + 1))


def _way_out(what: str, lines: list[str], column: int) -> tuple[int, int, str]:
    """Return the line that seems wrong, counted from 1, a column from 0, and the hint."""
    here = len(lines), column
    line = lines[-1] if lines else ""
    before = _last_written(lines)
    if "alphabetic or numeric" in what:
        return *here, ANCHOR
    if "\t" in line:
        return *here, "YAML indents with spaces; this line has a tab."
    if "expected ','" in what and not line[:column].strip() and before and before[0][0] < len(lines):
        number, text = before[0]
        return number, len(text) - 1, f"A comma is missing at the end of line {number}."
    if "expected ','" in what:
        return *here, COMMA
    if (found := _colon_or_space(before)) is not None:
        return found
    unlike = "mapping values" in what or "expected <block end>" in what or "expected key" in what
    indented = f"Line {len(lines)} is indented unlike the lines around it, or has a second `:`, which wants quotes."
    return *here, indented if unlike else ""


def _last_written(lines: list[str]) -> list[tuple[int, str]]:
    """Return the last two lines that are not blank, each with its number and without its comment."""
    found: list[tuple[int, str]] = []
    for number in range(len(lines), 0, -1):
        if len(found) < 2 and (text := lines[number - 1].partition("#")[0].rstrip()):
            found.insert(0, (number, text))
    return found


def _colon_or_space(before: list[tuple[int, str]]) -> tuple[int, int, str] | None:
    """Return the line, column and hint where one of two lines lacks a space behind its colon, or the colon."""
    before = [(number, _QUOTED.sub('""', text)) for number, text in before]
    for number, text in before:
        if found := _NO_SPACE.match(text):
            return number, _indent(text), f"Line {number}: put a space behind `{found[1]}:`."
    for number, text in before:
        below = f"\n{before[-1][1]}" if number < before[-1][0] else ""
        if found := _NO_COLON.match(text) or _BARE.match(text + below):
            return number, _indent(text), f"Line {number}: put a colon behind `{found[found.lastindex or 0]}`."
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
