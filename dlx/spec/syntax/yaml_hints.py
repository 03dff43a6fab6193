"""Hints for text that is not YAML, guessed from the lines before the error."""

from __future__ import annotations

import re

_NO_SPACE = re.compile(r"\s*(?:- )?([\w.]+):[^\s/:]")
_NO_COLON = re.compile(r"\s*(\w+)$|\s*- (\w+) *\{.*$")
_BARE = re.compile(r"\s*- (\w+)\n\s*(?:name|from|when|values|tie):")


def way_out(what: str, lines: list[str]) -> str:
    """Return a hint from the last two lines: libyaml often reports an error on the line after its cause."""
    line = lines[-1] if lines else ""
    written = [(n, text.partition("#")[0].rstrip()) for n, text in enumerate(lines, start=1)]
    before = [(n, text) for n, text in written if text.strip()][-2:]
    if "\t" in line:
        return "YAML indents with spaces; this line has a tab."
    if "${" in line:
        return 'An expression inside {...} or [...] wants quotes: {width: "${w}"}.'
    for number, text in before:
        if found := _NO_SPACE.match(text):
            return f"Line {number}: put a space behind `{found[1]}:`."
    for number, text in before:
        below = f"\n{before[-1][1]}" if number < before[-1][0] else ""
        if found := _NO_COLON.match(text) or _BARE.match(text + below):
            return f"Line {number}: put a colon behind `{found[found.lastindex or 0]}`."
    if "mapping values" in what or "expected <block end>" in what or "expected key" in what:
        return f"Line {len(lines)} is indented unlike the lines around it, or has a second `:`, which wants quotes."
    return "Is a bracket, brace or quote above it not closed?" if "expected ','" in what else ""
