"""The pages of `dlx explain`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from textwrap import wrap

from ..graph.explain import Derivation, Explanation
from ..layers.arithmetic import Line, evaluated, figure
from .console import console, document, out

PLAIN_WIDTH = 118
"""Width of a page in a pipe, in characters."""
MOST_NAMES = 60
ROUNDED = {"floor": "rounded down", "ceil": "rounded up"}


def explanations(pages: Mapping[str, Explanation], as_json: bool = False) -> None:
    """Print the page of a network, layer or block, or those of several networks by name."""
    if as_json:
        each = {name: page.as_json() for name, page in pages.items()}
        document(each[""] if list(each) == [""] else {"networks": each})
        return
    for number, page in enumerate(pages.values()):
        if number:
            out()
        explanation(page)


def explanation(page: Explanation) -> None:
    """Print a page: the layer or block, its inputs, and a paragraph for each figure."""
    width = console().width if sys.stdout.isatty() else PLAIN_WIDTH
    _sentences([f"{page.name or page.does}  {page.kind}"], width, style="bold cyan")
    _sentences(_facts(page), width)
    _inputs(page, width)
    _sentences(page.remarks, width)
    for part in page.derivations:
        out()
        _sentences([f"{part.title}: {part.figure}"], width, style="bold")
        _lines(part, width)
    if page.warnings:
        out()
        out("What is odd", "bold")
        _sentences([f"{text[:1].upper()}{text[1:]}." for text in page.warnings], width, "  ")
    if page.names:
        out()
        _names(page, width)


def _facts(page: Explanation) -> Iterable[str]:
    if page.name and page.does:
        yield page.does
    if page.source:
        yield f"Source: {page.source}"
    if page.mark is not None:
        yield f"Written at {page.mark}"


def _inputs(page: Explanation, width: int) -> None:
    """Print the shapes of the inputs and the nodes that they come from, a row each where there are several."""
    inputs = [f"{shape} from `{name}`" for name, shape in page.arriving]
    if len(inputs) == 1:
        _sentences([f"What comes in: {inputs[0]}"], width)
    elif inputs:
        _sentences(["What comes in:"], width)
        _sentences(inputs[:MOST_NAMES], width, "  ")


def _names(page: Explanation, width: int) -> None:
    out("Inside" if page.name else "Its layers and blocks", "bold")
    names = [name + (f" ({count} layers)" if count > 1 else "") for name, count in page.names]
    more = [f"and {len(names) - MOST_NAMES:,} more"] if len(names) > MOST_NAMES else []
    _sentences([", ".join(names[:MOST_NAMES] + more)], width, "  ")
    example = max(page.names, key=lambda each: each[1])[0]
    _sentences([f"One of them line by line: add `--layer {example}`."], width)


def _sentences(texts: Iterable[str], width: int, indent: str = "", style: str = "") -> None:
    for text in texts:
        for row in _wrapped(text, width, indent, indent + "  "):
            out(row, style)


def _lines(part: Derivation, width: int) -> None:
    labels = [line.what for line in part.lines if line.value is not None]
    room = max(map(len, labels), default=0)
    column = room + 2 if room else 0
    if column + 30 > width:  # a narrow terminal: each label gets a line of its own
        column = 0
    for line in part.lines:
        if line.value is None:
            _sentences([line.note], width, "  ")
            continue
        label = line.what
        if not column and label:
            out(f"  {label}")
            label = ""
        indent = " " * (2 + column + (2 if room and not column else 0))
        for number, text in enumerate(rows_of(line)):
            first = f"  {label.ljust(column)}" if not number and column else indent
            for row in _wrapped(text, width, first, indent + "    "):
                out(row)


def _wrapped(text: str, width: int, first: str, more: str) -> Sequence[str]:
    return wrap(
        text,
        max(width, 20),
        initial_indent=first,
        subsequent_indent=more,
        break_long_words=False,
        break_on_hyphens=False,
    )


def rows_of(line: Line) -> list[str]:
    """Return the rows of a line: the formula, the equation, the note; short ones share a row."""
    assert line.value is not None
    value, note = figure(line.value), [line.note] if line.note else []
    if line.numbers != value:
        formula = [_rounding(line.formula)] if line.formula else []
        rows = [*formula, equation(line)]
    else:
        rows = [f"{line.formula} = {value}" if line.formula else value]
    if note and not note[0][:1].isupper():
        return [*rows[:-1], f"{rows[-1]}{'' if note[0].startswith('(') else ','} {note[0]}"]
    return rows + note


def equation(line: Line) -> str:
    """Write a line as an equation: `(224 + 3 + 3 - 7) / 2 + 1 = 112.5, rounded down: 112`."""
    assert line.value is not None
    way, inner = _outermost(line.numbers)
    if not way:
        return f"{line.numbers} = {figure(line.value)}"
    exact = evaluated(Line(numbers=inner).expression)
    if exact == line.value:
        return f"{inner} = {figure(line.value)}"
    return f"{inner} = {_exactly(exact)}, {ROUNDED[way]}: {figure(line.value)}"


def _rounding(formula: str) -> str:
    way, inner = _outermost(formula)
    return f"{inner}, {ROUNDED[way]}" if way else formula


def _outermost(text: str) -> tuple[str, str]:
    """Split `floor(...)` or `ceil(...)` around a whole text into its name and its argument; else an empty name."""
    found = re.fullmatch(r"(floor|ceil)\((.*)\)", text)
    if not found:
        return "", text
    depth = 0
    for sign in found[2]:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return "", text
    return found[1], found[2]


def _exactly(value: Fraction) -> str:
    """Write a fraction exactly: `112.5`, `74 2/3`."""
    whole, rest = divmod(value, 1)
    if 1000 % rest.denominator == 0:
        return f"{whole:,}{f'{float(rest):g}'[1:]}"
    return f"{whole:,} {rest}"
