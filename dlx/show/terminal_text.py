"""Text from data and files on a terminal: what would steer it is shown instead, and its width is known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

STEERING = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters (C0, C1), ends of lines and paragraphs, what turns the direction of text, halves of pairs."""
ANY = re.compile(f"[{STEERING}]")
ALL_BUT_LINES = re.compile(f"(?![\n\t])[{STEERING}]")


def visible(text: str, lines: bool = True) -> str:
    """A text with what steers a terminal as `\\x1b` or `\\u202e`; with `lines`, newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return (ALL_BUT_LINES if lines else ANY).sub(_named, text)


def _named(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def width(text: str) -> int:
    """The columns that a line takes on a terminal: two for a wide character, none for a mark on the one before."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in {"Mn", "Me", "Cf"} for char in text)


def widest(column: Sequence[str]) -> int:
    """The width of the widest of several lines."""
    return max(map(len if all(map(str.isascii, column)) else width, column))
