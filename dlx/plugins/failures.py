"""Errors that the code of a plugin raises later: told in a sentence, with the line of that code."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DlxError, Mark, Problem, first_line
from ..registry import FAMILIES, Declared
from .loading import in_use
from .sources import FOLDER, place_of, shown

TRACEBACK = "With DLX_TRACEBACK=1 in the environment, Python's traceback is shown."


def is_foreign(cls: type) -> bool:
    """Whether a class is none of dlx's own."""
    return cls.__module__.partition(".")[0] != "dlx"


def raised_in(error: BaseException) -> Mark | None:
    """The last line of a plugin, or of another package that brings kinds, that an error passed through."""
    modules = {cls.__module__ for one in FAMILIES.values() for cls in (*one.registered(), *one.from_plugins.values())}
    foreign = {name.partition(".")[0] for name in modules} - {"dlx"}
    place, trace = None, error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in foreign:
            place = Mark(shown(Path(trace.tb_frame.f_code.co_filename)), trace.tb_lineno)
        trace = trace.tb_next
    return place


def failure_of(error: BaseException) -> Problem | None:
    """Return the sentence about an error of a plugin's code, at its line, or of dlx while plugins are in use.

    None for any other error, and with DLX_TRACEBACK set.
    """
    if isinstance(error, DlxError | KeyboardInterrupt) or os.environ.get("DLX_TRACEBACK"):
        return None
    mark = raised_in(error)
    if mark is not None:
        return Problem(_what_happened(error), TRACEBACK, mark, FOLDER)
    names = in_use()
    if not names or isinstance(error, SystemExit | OSError):
        return None
    message = f"{_what_happened(error)}, probably for what a kind of {' or '.join(names)} returned"
    return Problem(message, f"docs/extending.md says what each returns. {TRACEBACK}", None, FOLDER)


def _what_happened(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "ends the program (sys.exit)"
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # its own text has the count first, and the mistakes below
        mistakes = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return f"raised {type(error).__name__}: {'; '.join(mistakes)}"
    return f"raised {type(error).__name__}: {first_line(error)}"


def called(one: Declared) -> str:
    """A kind with the place of its class: "`scale` of my_layers.py:12"."""
    mark = place_of(type(one))
    return f"`{one.kind}` of {mark.file}:{mark.line}"


def failure_at(error: BaseException, one: Declared, mark: Mark, path: str) -> Problem | None:
    """The sentence about an error inside a part of a spec, at its place there; None where the part is dlx's own."""
    if not is_foreign(type(one)) or isinstance(error, DlxError):
        return None
    inside = raised_in(error)
    hint = f"It did so at {inside.file}:{inside.line}." if inside is not None else ""
    return Problem(f"{called(one)} {_what_happened(error)}", hint, mark, path)
