"""Line and column of each key of a TOML document, which `tomllib` does not report.

The text has been parsed by `tomllib` before, so the scanner relies on valid TOML.
"""

from __future__ import annotations

import re
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""+|' r"'''.*?'''+|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'",
    re.DOTALL,
)
# A date and its time may be separated by a space.
_SCALAR = re.compile(r"[^\s,\]}#]+(?: \d\d:[^\s,\]}#]+)?")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_PLAIN_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_marks(text: str) -> dict[Path, tuple[int, int]]:
    """Return line and column, from 1, of every key and array item by its path."""
    # As `tomllib` does it, so that both count the same lines and columns.
    return _Scanner(text.replace("\r\n", "\n")).run()


class _Scanner:
    """One pass over a valid document, which records where keys and items begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0] + [found.end() for found in re.finditer("\n", text)]
        self.marks: dict[Path, tuple[int, int]] = {}
        self.arrays: dict[Path, int] = {}  # arrays of tables and how many tables they have so far

    def run(self) -> dict[Path, tuple[int, int]]:
        table: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.marks

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return found[0]

    def mark(self, path: Path, at: int) -> None:
        line = bisect_right(self.starts, at)
        self.marks.setdefault(path, (line, at - self.starts[line - 1] + 1))

    def header(self) -> Path:
        """Read a header, `[a.b]` or `[[a.b]]`, and return its path."""
        double = self.text.startswith("[[", self.at)
        self.at += 2 if double else 1
        self.skip(_SPACES)
        path = self.keys((), through_arrays=True, last_is_array=double)
        self.skip(_SPACES)
        self.at += 2 if double else 1
        return path

    def keys(self, path: Path, through_arrays: bool = False, last_is_array: bool = False) -> Path:
        """Read a dotted key below `path`, record each part, and return the path."""
        while True:
            start = self.at
            path = (*path, self.key())
            self.mark(path, start)
            self.skip(_SPACES)
            more = self.text.startswith(".", self.at)
            if last_is_array and not more:
                self.arrays[path] = self.arrays.get(path, -1) + 1
            if through_arrays and path in self.arrays:
                path = (*path, self.arrays[path])
                self.mark(path, start)
            if not more:
                return path
            self.at += 1
            self.skip(_SPACES)

    def key(self) -> str:
        if self.text[self.at] in "\"'":
            raw = self.skip(_STRING)
            return raw[1:-1] if raw[0] == "'" else _ESCAPE.sub(_unescape, raw[1:-1])
        return self.skip(_BARE)

    def pair(self, table: Path) -> None:
        path = self.keys(table)
        self.at += 1  # the equals sign
        self.value(path)

    def value(self, path: Path) -> None:
        self.skip(_SPACES)
        first = self.text[self.at]
        if first == "[":
            self.array(path)
        elif first == "{":
            self.inline_table(path)
        elif first in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        self.skip(_BLANK)
        while self.text[self.at] != "]":
            self.mark((*path, index), self.at)
            self.value((*path, index))
            index += 1
            self.skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
                self.skip(_BLANK)
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        self.skip(_BLANK)
        while self.text[self.at] != "}":
            self.pair(path)
            self.skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
                self.skip(_BLANK)
        self.at += 1


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else _PLAIN_ESCAPES[code]
