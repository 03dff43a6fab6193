"""Quotes and brackets that are not closed: libyaml stops at what follows them, often many lines below."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

CLOSES = {"[": "]", "{": "}"}
QUOTE_IT = 'An expression inside {...} or [...] wants quotes: {width: "${w}"}.'
MOST_SCANNED = 1_000_000
"""Characters of a text that is scanned: a longer one has the sentence of libyaml."""
_QUOTED = {'"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL), "'": re.compile(r"'[^']*'(?!')|'(?:[^']|'')*'(?!')")}
_SKIPPED = re.compile(r"\s+|(?<![^\s\[{,])#[^\n]*|[-?](?=\s)|[:,]|[&!][^\s,\[\]{}]+")
_PLAIN = re.compile(r"(?:[^\s:#]|:(?=\S)|(?<=\S)#|[^\S\n]+(?=[^\s#]))+")
_PLAIN_IN_BRACKETS = re.compile(r"(?:[^\s:#,\[\]{}]|:(?=[^\s,\[\]{}])|(?<=\S)#|[^\S\n]+(?=[^\s#]))+")
_AFTER_QUOTED = re.compile(r"[^\S\n]*(?:$|#|:(?=\s|$)|[,\]}])", re.MULTILINE)
_BEGINNING = re.compile(r"[ -]*")
_KEY = re.compile(r"[\w./-]+:(?=\s)|- ")
_BLOCK_TEXT = re.compile(r"[|>][-+\d]*[^\S\n]*(?:#[^\n]*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cause:
    """A mistake in a text of YAML; `index` is its place among the characters."""

    index: int
    message: str
    hint: str


@dataclass
class _Scan:
    """Position in a text, and the brackets that are open there."""

    text: str
    index: int = 0
    open: list[int] = field(default_factory=list)

    def line_of(self, index: int) -> str:
        start = self.text.rfind("\n", 0, index) + 1
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)]

    def indent(self, index: int) -> int:
        line = self.line_of(index)
        return len(line) - len(line.lstrip(" "))


def cause_before(text: str, end: int) -> Cause | None:
    """Return the first quote or bracket of `text` that is not closed, and opens before `end`; None where all are.

    A text in quotes may go on over lines, and so may what is in brackets; a bracket counts as not closed where a line
    that is indented no more than its own begins with anything else than the closing one.
    """
    scan = _Scan(text)
    end = end if len(text) <= MOST_SCANNED else 0
    while scan.index < min(end, len(text)):
        cause = _step(scan)
        if cause is not None:
            return cause
    return _not_closed(text, scan.open[-1]) if scan.open and end >= len(text) else None


def _step(scan: _Scan) -> Cause | None:
    """Read one token."""
    text, at = scan.text, scan.index
    here = text[at]
    if found := _SKIPPED.match(text, at):
        scan.index = found.end()
        return _left_open(scan) if "\n" in found[0] else None
    if here in CLOSES:
        scan.open.append(at)
        scan.index += 1
        return None
    if here in CLOSES.values():
        return _close(scan)
    if here in _QUOTED:
        return _quoted(scan)
    return _word(scan)


def _word(scan: _Scan) -> Cause | None:
    """Read a text without quotes, or the one below `|` or `>`."""
    text, at = scan.text, scan.index
    if text[at] in "|>" and not scan.open and (found := _BLOCK_TEXT.match(text, at)):
        scan.index = _end_of_block_text(scan, found.end())
        return None
    if scan.open and text.startswith("${", at):
        return Cause(at, "the expression that begins here has no quotes", QUOTE_IT)
    found = (_PLAIN_IN_BRACKETS if scan.open else _PLAIN).match(text, at)
    scan.index = found.end() if found else at + 1
    return None


def _left_open(scan: _Scan) -> Cause | None:
    """Return the innermost bracket that is still open where a line begins that is not inside it."""
    if not scan.open or scan.index >= len(scan.text) or scan.text[scan.index] in "]}#":
        return None
    here, first = scan.indent(scan.index), scan.indent(scan.open[0])
    found = _BEGINNING.match(scan.line_of(scan.open[0]))
    beside = len(found[0]) if found else 0
    outside = here <= first or (here <= beside and _KEY.match(scan.text, scan.index) is not None)
    return _not_closed(scan.text, scan.open[-1]) if outside else None


def _not_closed(text: str, at: int) -> Cause:
    closing = CLOSES[text[at]]
    return Cause(at, f"the `{text[at]}` that opens here is not closed", f"Write `{closing}` where it ends.")


def _close(scan: _Scan) -> Cause | None:
    """Close the innermost bracket."""
    closing = scan.text[scan.index]
    if not scan.open:
        return Cause(scan.index, f"the `{closing}` closes nothing", "Drop it, or open it above.")
    opened = scan.open.pop()
    if CLOSES[scan.text[opened]] != closing:
        return _not_closed(scan.text, opened)
    scan.index += 1
    return None


def _quoted(scan: _Scan) -> Cause | None:
    """Read a text in quotes. One that ends in the middle of a line below has lost its own closing quote."""
    quote = scan.text[scan.index]
    found = _QUOTED[quote].match(scan.text, scan.index)
    if found is None or ("\n" in found[0] and not _AFTER_QUOTED.match(scan.text, found.end())):
        message = f"the quote `{quote}` that opens here is not closed"
        return Cause(scan.index, message, f"Write `{quote}` where the text ends.")
    scan.index = found.end()
    return None


def _end_of_block_text(scan: _Scan, index: int) -> int:
    """Return the end of the text below `|` or `>`: the lines that are indented further."""
    indent = scan.indent(scan.index)
    while (index := scan.text.find("\n", index)) >= 0:
        line = scan.line_of(index + 1)
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            return index
        index += 1
    return len(scan.text)
