"""Conditions on runs: `valid/error < 0.1 and (adam.lr = 0.01 or tags.keep)`, read by a grammar of its own.

    condition   = both ("or" both)*
    both        = one ("and" one)*
    one         = "not" one | "(" condition ")" | KEY [COMPARISON VALUE]
    COMPARISON  = "=" "==" "!=" "<" "<=" ">" ">=", or "~", contains

A key alone asks whether a run has it. Nothing of it is evaluated as Python.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

from ..errors import DlxError, did_you_mean
from ..utils.numbers import as_number

Value = float | int | str
Facts = Mapping[str, Value]
"""What is known of a run, by key."""
Condition = Callable[[Facts], bool]

TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<comparison><=|>=|==|!=|[<>=~])|(?P<bracket>[()])|(?P<word>[^\s()<>=!~'"]+))"""
)
WAY = "Write `KEY < VALUE`, with = != < <= > >= or ~ (contains), joined by and, or, not and brackets."
LONGEST, DEEPEST = 10_000, 50
ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Filter:
    """A condition with the keys that it asks for."""

    condition: Condition
    keys: tuple[str, ...]


def parse(text: str, known: Iterable[str]) -> Filter:
    """Read a condition on keys that are `known`. DlxError where it is none, or a key is not known."""
    if len(text) > LONGEST:
        raise DlxError(f"`--filter` has {len(text):,} characters, and {LONGEST:,} are read", hint=WAY)
    parser = _Parser(text, list(_tokens(text)), sorted(set(known)))
    condition = parser.condition()
    if parser.rest:
        raise parser.wrong("`and` or `or`")
    return Filter(condition, tuple(parser.keys))


def full_key(text: str, known: Iterable[str], what: str) -> str:
    """Return the key that a text means: itself, or the only one that ends so. DlxError where there is none."""
    known = sorted(set(known))
    if text in known:
        return text
    ends = [key for key in known if key.endswith((f".{text}", f"/{text}"))]
    if len(ends) == 1:
        return ends[0]
    if ends:
        listed = ", ".join(ends[:4]) + (", ..." if len(ends) > 4 else "")
        raise DlxError(f"`{text}` of `{what}` may be any of {listed}", hint="Write more of it.")
    hint = did_you_mean(text, known).partition("There are")[0]
    raise DlxError(
        f"no run has `{text}`, which `{what}` names", hint=hint or "`dlx runs --json` has all that is known."
    )


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int
    """Its first character, counted from 1."""


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        if found is None:
            place = at + len(text[at:]) - len(text[at:].lstrip()) + 1
            raise DlxError(
                f"`--filter` cannot be read from character {place} on: `{text[place - 1 :][:20]}`", hint=WAY
            )
        kind = str(found.lastgroup)
        yield _Token(kind, found[kind], found.start(kind) + 1)
        at = found.end()


@dataclass
class _Parser:
    """A condition while it is read, from left to right."""

    text: str
    rest: list[_Token]
    known: Sequence[str]
    keys: list[str] = field(default_factory=list)
    depth: int = 0

    def wrong(self, expected: str) -> DlxError:
        where = f"at character {self.rest[0].at}: `{self.rest[0].text}`" if self.rest else "at its end"
        return DlxError(f"`--filter` cannot be read: {expected} is missing {where}", hint=WAY)

    def condition(self) -> Condition:
        return self._joined("or", lambda: self._joined("and", self._one, all), any)

    def _joined(self, word: str, part: Callable[[], Condition], how: Callable[[Iterable[bool]], bool]) -> Condition:
        parts = [part()]
        while self._takes(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else lambda facts: how(one(facts) for one in parts)

    def _takes(self, text: str) -> bool:
        """Go past a word or bracket, if it is what comes next."""
        if self.rest and self.rest[0].kind != "text" and self.rest[0].text == text:
            del self.rest[0]
            return True
        return False

    def _one(self) -> Condition:
        self.depth += 1
        if self.depth > DEEPEST:
            raise DlxError(f"`--filter` is nested deeper than {DEEPEST} levels", hint=WAY)
        try:
            if self._takes("not"):
                inner = self._one()
                return lambda facts: not inner(facts)
            if self._takes("("):
                inner = self.condition()
                if not self._takes(")"):
                    raise self.wrong("`)`")
                return inner
            return self._comparison()
        finally:
            self.depth -= 1

    def _comparison(self) -> Condition:
        if not self.rest or self.rest[0].kind != "word" or self.rest[0].text in {"and", "or"}:
            raise self.wrong("a key")
        key = full_key(self.rest.pop(0).text, self.known, "--filter")
        self.keys.append(key)
        if not self.rest or self.rest[0].kind != "comparison":
            return lambda facts: key in facts
        sign = self.rest.pop(0).text
        if not self.rest or self.rest[0].kind not in {"word", "text"}:
            raise self.wrong("a value")
        value = self.rest.pop(0)
        return compared(key, sign, value.text[1:-1] if value.kind == "text" else value.text)


def compared(key: str, sign: str, text: str) -> Condition:
    """Return whether a run has the key, with a value that compares so. A NaN equals a NaN."""
    number = as_number(text)
    if sign == "~":
        return lambda facts: key in facts and text in str(facts[key])
    if sign in ORDER:
        return lambda facts: key in facts and _ordered(facts[key], sign, text, number)
    return lambda facts: key in facts and _equal(facts[key], text, number) == (sign != "!=")


def _equal(value: Value, text: str, number: float | None) -> bool:
    if isinstance(value, str):
        return value == text
    return number is not None and (value == number or (isnan(value) and isnan(number)))


def _ordered(value: Value, sign: str, text: str, number: float | None) -> bool:
    """Compare numbers by size, and texts, such as dates, by their letters."""
    if isinstance(value, str):
        return number is None and ORDER[sign](value, text)  # type: ignore[arg-type]
    return number is not None and ORDER[sign](value, number)
