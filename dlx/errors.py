"""Errors of dlx, and the sentences that they are made of.

    DlxError              wrong input                                        exit status 2
    ├── SpecError         one spec's mistakes, all at once
    ├── ShapeError        a layer refuses its inputs; the graph adds names and marks
    ├── DataError         a data file that is missing, torn or of another form
    └── RunError          the experiment failed, the input was fine          exit status 1
        └── NotWrittenError   a file of a run, as on a full disk
    DlxWarning            what is odd and not wrong, from Python

A layer knows the numbers and the way out, the graph adds names, the spec adds file, line and column.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice

from .utils.passwords import masked


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of a value in a text. `line` and `column` count from 1; 0 where there is no text, as of a default.

    `column` alone is 0 for a line of Python.
    """

    file: str
    line: int = 0
    column: int = 0
    order: int = 0
    """Place among the values of a mapping of Python, which have no lines."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Sort key within a file."""
        return (self.line, self.column, self.order)

    @property
    def on_line(self) -> str:
        """`, on line 7`; nothing where there is no line."""
        return f", on line {self.line}" if self.line else ""

    @property
    def in_brackets(self) -> str:
        """` (line 7)`; nothing where there is no line."""
        return f" (line {self.line})" if self.line else ""

    def as_json(self) -> dict[str, object]:
        return {"file": self.file or None, "line": self.line or None, "column": self.column or None}

    def __str__(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.file, *numbers])


NOWHERE = Mark("(default)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `message` states it, `hint` the way out, `path` the value (`train.batch_size`).

    Passwords of addresses in the texts are masked, whoever raises it.
    """

    message: str
    hint: str = ""
    mark: Mark | None = None
    path: str = ""
    calls: tuple[Mark, ...] = ()
    """The uses of the blocks that the mistake lies in, innermost first: what they hand in may be what is wrong."""
    values: tuple[tuple[str, Mark], ...] = ()
    """The variables that the wrong value comes from, each with its place."""

    def __post_init__(self) -> None:
        # Here and not where problems are made: a message may quote any value of a spec.
        for name in ("message", "hint"):
            if "://" in getattr(self, name):
                object.__setattr__(self, name, masked(getattr(self, name)))

    def __str__(self) -> str:
        where = "  ".join(str(part) for part in (self.mark, self.path) if part)
        texts = [text for text in (self.message, self.hint, *self.places) if text]
        return "\n".join(([where] if where else []) + [f"  {text}" for text in texts])

    @property
    def sentence(self) -> str:
        """The message with the way out, in a line."""
        return f"{self.message}. {self.hint}" if self.hint else self.message

    @property
    def places(self) -> list[str]:
        """The sentences about where else to look: the uses of the block, the variables."""
        others = f"from {', '.join(f'`{name}` at {mark}' for name, mark in self.values)}" if self.values else ""
        return [text for text in (self.called_at, others) if text]

    @property
    def called_at(self) -> str:
        """`called at s.yaml:9:7, from s.yaml:14:7`: each block in which the mistake lies; of many the ends."""
        shown = [str(mark) for mark in self.calls]
        shown = [*shown[:2], "...", shown[-1]] if len(shown) > 4 else shown
        return f"called at {', from '.join(shown)}" if shown else ""

    def as_json(self) -> dict[str, object]:
        mark = self.mark or Mark("")
        return {
            **mark.as_json(),
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
            "called_at": [at.as_json() for at in self.calls],
            "values": [{"name": name, **at.as_json()} for name, at in self.values],
        }


class DlxError(Exception):
    """Base of all errors that users can act on. Has one problem or more."""

    exit_code = 2

    def __init__(self, *problems: Problem | str, hint: str = "") -> None:
        self.problems = tuple(Problem(p, hint) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class DlxWarning(UserWarning):
    """Something that is odd and not wrong, where dlx is used from Python."""


class SpecError(DlxError):
    """A spec has mistakes. `problems` has all of them, in the order of the file."""


class DataError(DlxError):
    """The data is missing, damaged, or not as the spec describes it."""


class RunError(DlxError):
    """An experiment failed while it ran: a loss that is not finite, a disk that is full."""

    exit_code = 1


class NotWrittenError(RunError):
    """A file of a run could not be written; what is there already is whole, and the run can go on."""

    def going_on(self, how: str) -> NotWrittenError:
        """Return the error of the whole that a part ends: `how` it goes on, in place of how the part does."""
        first, *others = self.problems
        hint = f"{MAKE_ROOM} {how}" if first.hint.startswith(MAKE_ROOM) else how
        return NotWrittenError(replace(first, hint=hint), *others)


MAKE_ROOM = "Make room on the disk."


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of a disk without room, of a quota, and of a limit on files."""


def not_written(what: object, error: OSError) -> NotWrittenError:
    """Return the error of a file that cannot be written: `what`, why, and the way out of a full disk."""
    reason = (error.strerror or str(error)).lower()
    hint = MAKE_ROOM if error.errno in FULL else ""
    return NotWrittenError(f"{what} cannot be written: {reason}", hint=hint)


class ShapeError(DlxError):
    """A layer refuses its inputs. `{0}`, `{1}`, ... in the message stand for the inputs, which the graph can name.

    `instead` is the plan of a layer whose output is written in the spec: the layers below are checked with it.
    """

    def __init__(self, message: str, hint: str = "", inputs: Sequence[object] = (), instead: object = None) -> None:
        self.template = Problem(message, hint)
        self.inputs, self.instead = tuple(inputs), instead
        super().__init__(self.problem_for([str(x) for x in inputs]))

    def problem_for(self, names: Sequence[str]) -> Problem:
        """Return the problem with the inputs called by `names`."""
        if not self.inputs:
            return self.template
        return replace(self.template, message=self.template.message.format(*names))


MOST_NAMES = 1000
"""Most names that are searched for a suggestion: a hostile spec may have a hundred thousand."""


def did_you_mean(word: str, known: Iterable[str], plural: str = "") -> str:
    """Return `Did you mean ...?`, or a short list of the known names, after the noun `plural`."""
    options = sorted(set(islice(known, MOST_NAMES)))
    # difflib counts capitals as other letters, so a name that differs in case alone may not be close to it.
    near = [name for name in options if name.lower() == word.lower()]
    near = near or difflib.get_close_matches(word.lower(), options, n=2, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(f"`{n}`" for n in near) + "?"
    if not options:
        return ""
    shown = ", ".join(options[:12]) + (", ..." if len(options) > 12 else "")
    noun = plural.removesuffix("s") if len(options) == 1 else plural
    return f"There {'is' if len(options) == 1 else 'are'} {noun + ' ' if noun else ''}{shown}."


def shortened(text: str, length: int = 60) -> str:
    """Cut a text to `length` characters, for a message that it would otherwise fill."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def number_text(number: int) -> str:
    """Write a whole number with its thousands, and one of more than 20 digits rounded to four: `1.235e+29`."""
    if abs(number) < 10**20:
        return f"{number:,}"
    digits, exponent = f"{Decimal(number):.3e}".split("e")  # a float has no number beyond 1.8e308, and rounds twice
    return f"{digits.rstrip('0').removesuffix('.')}e{exponent}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not blank, or else the name of its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def with_article(noun: str) -> str:
    """Put the article before a noun: `a layer`, `an optimizer`."""
    return f"{'an' if noun[:1] in set('aeiou') else 'a'} {noun}"


def listed(names: Iterable[str], most: int = 3, quote: str = "`") -> str:
    """Join names for a sentence: `a`, `a` and `b`; of many the first, `a`, `b`, `c` and 4 more, never 1 more."""
    every = [f"{quote}{name}{quote}" for name in names]
    last = f"{len(every) - most:,} more" if len(every) > most + 1 else every.pop() if every else ""
    first = every[:most]
    return f"{', '.join(first)} and {last}" if first else last


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 layer`, `2 layers`, `1,000 layers`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
