"""YAML 1.2 text escaped for libyaml, which parses YAML 1.1: characters that differ are swapped for others.

In YAML 1.2 the line separators of Unicode do not end a line, `?` before a letter begins a word, and an anchor may
have a dot. Stand-ins have the same width, so that lines and columns stay valid; `restored` undoes them in a scalar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from string import ascii_letters, digits

MOST_WITH_ANCHORS = 1_000_000
"""Characters of a text whose anchors are rewritten; longer ones are left to libyaml."""
_BREAKS = "\u0085\u2028\u2029"
_WORD_WITH_MARK = re.compile(r"\?(?=[^\s,\[\]{}])")
_ANCHOR = re.compile(r"(?:^|(?<=[\s,\[{]))([&*])([^\s,\[\]{}\"'\\]*[^\s,\[\]{}\"'\\:])", re.MULTILINE)
_PLAIN_NAME = re.compile(r"[\w-]+", re.ASCII)
_LETTERS = ascii_letters + digits


class LibyamlText:
    """A text with stand-ins for what libyaml would misread."""

    def __init__(self, text: str) -> None:
        self.swapped: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.codes: re.Pattern[str] | None = None
        # Characters of the private use area, which the text must not use itself.
        free = _free(text)
        for found in _BREAKS:
            if found in text and (stand_in := next(free, "")):
                self.swapped[stand_in] = found
                text = text.replace(found, stand_in)
        if _WORD_WITH_MARK.search(text) and (stand_in := next(free, "")):
            self.swapped[stand_in] = "?"
            text = _WORD_WITH_MARK.sub(stand_in, text)
        self.text = self._with_plain_anchors(text)

    def _with_plain_anchors(self, text: str) -> str:
        """Rename anchors that libyaml does not read to names of the same length."""
        if len(text) > MOST_WITH_ANCHORS:
            return text
        unreadable = {found[2] for found in _ANCHOR.finditer(text) if not _PLAIN_NAME.fullmatch(found[2])}
        if not unreadable:
            return text
        prefix = _unused(text)
        codes = {name: _code(prefix, number, len(name)) for number, name in enumerate(sorted(unreadable))}
        self.names = {code: name for name, code in codes.items() if code}
        self.codes = re.compile(f"{prefix}[{_LETTERS}]*")
        return _ANCHOR.sub(lambda found: found[1] + (codes.get(found[2]) or found[2]), text)

    def restored(self, text: str) -> str:
        """Return a scalar, tag or anchor as it was written."""
        if self.codes is not None:
            text = self.codes.sub(self._named, text)
        for stand_in, found in self.swapped.items():
            text = text.replace(stand_in, found)
        return text

    def _named(self, found: re.Match[str]) -> str:
        """Return a word with the code at its beginning replaced by the name that it stands for."""
        word = found[0]
        lengths = (length for length in range(len(word), 0, -1) if word[:length] in self.names)
        length = next(lengths, 0)
        return self.names[word[:length]] + word[length:] if length else word


def _free(text: str) -> Iterator[str]:
    """Yield characters of the private use area that a text does not have, plain or escaped."""
    escaped = text.lower()
    return (c for c in map(chr, range(0xE000, 0xF900)) if c not in text and f"{ord(c):x}" not in escaped)


def _unused(text: str) -> str:
    """Return the shortest word that a text does not have."""
    words = ("".join(letters) for length in (1, 2, 3, 4) for letters in product(_LETTERS, repeat=length))
    return next(word for word in words if word not in text)  # there are more words than a text of 1 MB can hold


def _code(prefix: str, number: int, length: int) -> str:
    """Return the name of `length` letters for a number; empty where it has too few letters."""
    room = length - len(prefix)
    code = ""
    while number and len(code) < room:
        number, letter = divmod(number, len(_LETTERS))
        code = _LETTERS[letter] + code
    return "" if number or room < 0 else prefix + code.rjust(room, _LETTERS[0])
