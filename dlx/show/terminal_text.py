"""Text from data and files made safe for a terminal, and its width in columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

CONTROL = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters (C0, C1), line and paragraph separators, marks of direction, and lone surrogates."""
ANY = re.compile(f"[{CONTROL}]")
ALL_BUT_LINES = re.compile(f"(?![\n\t])[{CONTROL}]")


def visible(text: str, lines: bool = True) -> str:
    """Escape control characters, as `\\x1b` or `\\u202e`; with `lines`, newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return (ALL_BUT_LINES if lines else ANY).sub(_named, text)


def _named(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def width(text: str) -> int:
    """Return the columns that a line takes on a terminal: two for a wide character, none for a combining mark."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in {"Mn", "Me", "Cf"} for char in text)


def widest(column: Sequence[str]) -> int:
    """Return the width of the widest of several lines."""
    return max(map(len if all(map(str.isascii, column)) else width, column))
