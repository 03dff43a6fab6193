"""Output streams: results to stdout, messages about them to stderr; colour on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DlxError, Problem
from ..utils import json_documents
from . import forms
from .forms import Number
from .terminal_text import visible, widest, width

if TYPE_CHECKING:
    from rich.console import Console

Styled = Sequence[tuple[str, str]]
"""One or more lines: pieces of text, each with its style."""


def console(stderr: bool = False) -> Console:
    """Return rich's console for stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


FOLDED = 10
"""Least width of a column of text, in characters."""


class TextTable:
    """A table: by rich on a terminal, aligned text in a pipe, where rich would take seconds for a long one.

    A title that starts with `>` aligns its column to the right. Without titles there is no heading. The columns
    `spare` are left out, in their order, where the terminal is too narrow.
    """

    def __init__(self, *titles: str, columns: int = 0, styles: Sequence[str] = (), spare: Sequence[str] = ()) -> None:
        self.spare = spare
        self.right = [title.startswith(">") for title in titles] or [False] * columns
        self.titles = [visible(title.removeprefix(">"), lines=False) for title in titles]
        self.styles = styles
        self.rows: list[tuple[str, ...]] = []

    def drop(self, title: str) -> None:
        """Remove a column by its title."""
        index = self.titles.index(title)
        del self.titles[index], self.right[index]
        self.rows = [row[:index] + row[index + 1 :] for row in self.rows]

    def add(self, *cells: str) -> None:
        """Add a row; characters that would steer the terminal are escaped."""
        line = "".join(cells)
        if not (line.isascii() and line.isprintable()):
            cells = tuple(cell if isinstance(cell, Number) else visible(cell, lines=False) for cell in cells)
        self.rows.append(cells)

    def print(self) -> None:
        """Print the table to stdout: its rows as stacked lines where even the least width does not fit."""
        if (form := forms.FORM.get()) != "table":
            sys.stdout.write(forms.written(form, self.titles, self.right, self.rows))
            return
        if not sys.stdout.isatty():
            sys.stdout.write("".join(f"{line}\n" for line in self.lines()))
            return
        from rich.table import Table
        from rich.text import Text

        for title in self.spare:  # the least needed goes first where the terminal is narrow
            if max(map(width, self.lines())) > console().width:
                self.drop(title)
        if self.least_width() > console().width:
            console().print(Text("\n".join(self.stacked())), soft_wrap=True)
            return
        table = Table(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(self.titles)
        )
        for index, right in enumerate(self.right):
            title = self.titles[index] if self.titles else ""
            style = self.styles[index] if index < len(self.styles) else ""
            justify: Literal["right", "left"] = "right" if right else "left"
            table.add_column(Text(title), justify=justify, style=style, overflow="fold", no_wrap=right)
        for row in self.rows:
            # As Text: in a plain string rich would read `[red]` of a name as markup.
            table.add_row(*map(Text, row))
        console().print(table)

    def least_width(self) -> int:
        """Return the width below which a figure would be cut: right-aligned columns whole, others folded."""
        widths = self._widths()
        folded = [wide if right else min(wide, FOLDED) for wide, right in zip(widths, self.right, strict=True)]
        return sum(folded) + 2 * (len(folded) - 1) if any(self.right) else 0

    def stacked(self) -> list[str]:
        """Return each row as several lines: its first cell, then each other cell after its title."""
        titles = self.titles or [""] * len(self.right)
        found = []
        for row in self.rows:
            cells = [(title, cell) for title, cell in zip(titles, row, strict=True) if cell]
            found += [cell if not index else f"  {title} {cell}" for index, (title, cell) in enumerate(cells)]
        return found

    def _all(self) -> list[tuple[str, ...]]:
        return ([tuple(self.titles)] if self.titles else []) + self.rows

    def lines(self) -> list[str]:
        """Return the heading and the rows as aligned text."""
        rows = self._all()
        if not rows:
            return []
        columns = zip(*rows, strict=True)
        padded = [_padded(column, right) for column, right in zip(columns, self.right, strict=True)]
        return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]

    def _widths(self) -> list[int]:
        return [widest(column) for column in zip(*self._all(), strict=True)]


def _padded(column: Sequence[str], right: bool) -> list[str]:
    """Pad the cells of a column to the width of the widest."""
    wide = widest(column)
    if all(map(str.isascii, column)):
        return [cell.rjust(wide) if right else cell.ljust(wide) for cell in column]
    # Not str.ljust: it counts characters, of which a wide one takes two columns and a combining mark none.
    padding = [" " * (wide - width(cell)) for cell in column]
    return [pad + cell if right else cell + pad for cell, pad in zip(column, padding, strict=True)]


def out(text: str = "", style: str = "") -> None:
    """Print lines of results to stdout."""
    text = visible(text)
    if (form := forms.FORM.get()) != "table":
        sys.stdout.write(forms.block(form, text, style))
        return
    if sys.stdout.isatty():
        from rich.text import Text

        console().print(Text(text, style=style), soft_wrap=True)
    else:
        sys.stdout.write(f"{text}\n")


def say(text: str) -> None:
    """Print a line about the results to stderr."""
    sys.stderr.write(f"{visible(text)}\n")


def document(value: Any) -> None:
    """Print one JSON document to stdout."""
    json_documents.write(value)


def errors(error: DlxError, as_json: bool) -> None:
    """Print every problem to stderr, red on a terminal; with `as_json` as a document on stdout."""
    if as_json:
        document({"errors": [problem.as_json() for problem in error.problems]})
        return
    lines = [_problem(problem) for problem in error.problems]
    if len(lines) > 1:
        lines.append([(f"{len(lines)} problems", "red")])
    _to_stderr(lines)


def warnings(problems: Iterable[Problem]) -> None:
    """Print warnings to stderr, yellow on a terminal."""
    from ..spec.validation import short_path

    _to_stderr([(visible(f"{p.mark}  {short_path(p.path)}: {p.sentence}"), "yellow")] for p in problems)


def _to_stderr(lines: Iterable[Styled]) -> None:
    if sys.stderr.isatty():
        from rich.text import Text

        target = console(stderr=True)
        for line in lines:
            # Not wrapped: a path in a message can be copied in one piece.
            target.print(Text.assemble(*line), soft_wrap=True)
    else:
        sys.stderr.write("".join(f"{''.join(text for text, _ in line)}\n" for line in lines))


def _problem(problem: Problem) -> Styled:
    pieces = []
    where = [str(problem.mark)] if problem.mark else []
    if where or problem.path:
        place = "  ".join(where + ([problem.path] if problem.path else []))
        pieces.append((visible(place, lines=False) + "\n", "bold"))
    pieces.append((visible(f"  {problem.message}"), "red"))
    if problem.hint:
        pieces.append((visible(f"\n  {problem.hint}"), ""))
    pieces += [(visible(f"\n  {text}"), "") for text in problem.places]
    return pieces
