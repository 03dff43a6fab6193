"""Where words go: results to stdout, everything about them to stderr; colour only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from ..errors import DlxError, Problem

WIDE = 1_000_000
"""Columns of a pipe: nothing is cut or wrapped there."""


def console(stderr: bool = False) -> Console:
    """Colour and the terminal's width on a terminal; plain and unwrapped in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr, highlight=False)
    return Console(stderr=stderr, highlight=False, width=_columns(), soft_wrap=True)


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdigit() and int(given) > 0 else WIDE


def out(text: str = "") -> None:
    """A line of results."""
    console().print(text, markup=False, soft_wrap=True)


def say(text: str) -> None:
    """A line about the results, to stderr."""
    console(stderr=True).print(text, markup=False, soft_wrap=True)


def document(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def errors(error: DlxError, as_json: bool) -> None:
    """Every problem, red on a terminal."""
    if as_json:
        document({"errors": [problem.as_json() for problem in error.problems]})
        return
    target = console(stderr=True)
    for problem in error.problems:
        target.print(_problem(problem), soft_wrap=True)
    if len(error.problems) > 1:
        target.print(f"{len(error.problems)} problems", style="red", soft_wrap=True)


def _problem(problem: Problem) -> Text:
    text = Text()
    where = [str(problem.mark)] if problem.mark else []
    if where or problem.path:
        text.append("  ".join(where + ([problem.path] if problem.path else [])) + "\n", style="bold")
    text.append(f"  {problem.message}", style="red")
    if problem.hint:
        text.append(f"\n  {problem.hint}")
    return text


def warnings(problems: Iterable[Problem]) -> None:
    target = console(stderr=True)
    for problem in problems:
        target.print(Text(f"{problem.mark}  {problem.path.removeprefix('network.layers.')}: {problem.message}", style="yellow"), soft_wrap=True)
