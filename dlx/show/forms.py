"""Tables as Markdown, LaTeX and CSV, for documents and programs; what stands around them as text or comments.

No library: tabulate 0.10 leaves `|` in a cell of Markdown as it is, which ends the cell, and reads `5e3` in a text as
5000 unless it is told not to; what is left are a few lines.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from ..errors import DlxError
from ..utils.latex import escaped

Form = Literal["table", "markdown", "latex", "csv", "json"]
FORM: ContextVar[Form] = ContextVar("FORM", default="table")
"""Form of all tables that are printed."""
SPECIAL = re.compile(r"([\\`*|<>\[\]]|(?<!\w)_|_(?!\w))")
"""Characters that Markdown, or HTML within it, would read; an underscore inside a word is none."""


class Number(str):
    """A number as people read it, `1,234`, with the value that a program reads."""

    __slots__ = ("value",)
    value: float | None

    def __new__(cls, text: str, value: float | None) -> Number:
        self = super().__new__(cls, text)
        self.value = value
        return self


@contextmanager
def printed_as(form: Form) -> Iterator[None]:
    """Print the tables of the block in a form."""
    token = FORM.set(form)
    try:
        yield
    finally:
        FORM.reset(token)


def form_of(form: Form | None, as_json: bool) -> Form:
    """Return the form that `--format` and `--json` ask for. DlxError where they ask for two."""
    if as_json and form not in {None, "json"}:
        raise DlxError(f"`--json` and `--format {form}` ask for two forms", hint="Leave one of the two out.")
    return "json" if as_json else form or "table"


def written(form: Form, titles: Sequence[str], right: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in a form, `right` where a column is aligned so; with an empty line behind it in Markdown."""
    if form == "csv":
        return _csv(titles, rows)
    return _latex(titles, right, rows) if form == "latex" else _markdown(titles, right, rows)


def block(form: Form, text: str, style: str = "") -> str:
    """Return lines of text that stand beside tables: a paragraph or a list in Markdown, comments in LaTeX."""
    lines = [line for line in text.splitlines() if line.strip()]
    if form == "csv" or not lines:
        return ""
    if form == "latex":
        return "".join(f"% {line}\n" for line in lines)
    safe = [SPECIAL.sub(r"\\\1", line) for line in lines]
    if len(safe) == 1:
        return f"**{safe[0]}**\n\n" if "bold" in style else f"{safe[0]}\n\n"
    return "".join(f"- {line}\n" for line in safe) + "\n"


def _markdown(titles: Sequence[str], right: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    heads = titles or [""] * len(right)
    lines = [_bar(heads), _bar(["---:" if one else "---" for one in right], plain=True), *map(_bar, rows)]
    return "".join(f"{line}\n" for line in lines) + "\n"


def _bar(cells: Sequence[str], plain: bool = False) -> str:
    safe = cells if plain else [SPECIAL.sub(r"\\\1", " ".join(cell.split())) for cell in cells]
    return f"| {' | '.join(safe)} |"


def _latex(titles: Sequence[str], right: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    head = [_ampersands(titles), "\\midrule"] if titles else []
    body = [*head, *map(_ampersands, rows)]
    columns = "".join("r" if one else "l" for one in right)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", *body, "\\bottomrule", "\\end{tabular}"]
    return "% \\usepackage{booktabs}\n" + "".join(f"{line}\n" for line in lines)


def _ampersands(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\"


def _csv(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if titles:
        writer.writerow(titles)
    writer.writerows([[_value(cell) for cell in row] for row in rows])
    return text.getvalue()


def _value(cell: str) -> object:
    if isinstance(cell, Number):
        return "" if cell.value is None else repr(cell.value)
    return cell
