"""Pieces of HTML, in which every text is escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


class Markup(str):
    """HTML that is whole: it is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escape a value; characters that no page may have, such as NUL, are shown as their number."""
    if isinstance(value, Markup):
        return value
    visible = "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in str(value))
    return Markup(escape(visible))


def joined(parts: Iterable[str]) -> Markup:
    return Markup("\n".join(parts))


def section(name: str, title: str, *parts: Markup) -> Markup:
    """Return a section with its heading, to which the contents lead; nothing where it has no parts."""
    inner = joined(part for part in parts if part)
    if not inner:
        return Markup("")
    return Markup(
        f'<section id="{text(name)}" aria-labelledby="{text(name)}-title">'
        f'<h2 id="{text(name)}-title">{text(title)}</h2>\n{inner}</section>'
    )


def table(
    titles: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "", *, sortable: bool = False
) -> Markup:
    """Return a table. A title that starts with `>` aligns its column to the right.

    A `sortable` one is sorted by the page's script, by the column whose title is pressed.
    """
    right = [title.startswith(">") for title in titles]
    names = [title.removeprefix(">") for title in titles]
    cells = (
        "".join(
            f"<td{' class=number' if side else ''}>{text(cell)}</td>" for cell, side in zip(row, right, strict=True)
        )
        for row in rows
    )
    head = "".join(
        f'<th scope="col"{" class=number" if side else ""}>{text(name)}</th>'
        for name, side in zip(names, right, strict=True)
    )
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    kind = " class=sortable" if sortable else ""
    return Markup(
        f'<div class="wide" tabindex="0"><table{kind}>{above}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def folded(title: str, inner: Markup, is_open: bool = False) -> Markup:
    """Return what unfolds by a click on its title, or by the keyboard."""
    return Markup(f"<details{' open' if is_open else ''}><summary>{text(title)}</summary>{inner}</details>")


def paragraph(words: object, kind: str = "") -> Markup:
    return Markup(f"<p{f' class={kind}' if kind else ''}>{text(words)}</p>")


def image(content: bytes, about: str) -> Markup:
    """Return a PNG inside the page, with the words for those who cannot see it."""
    data = base64.b64encode(content).decode()
    return Markup(
        f'<figure class="picture"><img src="data:image/png;base64,{data}" alt="{text(about)}">'
        f"<figcaption>{text(about)}</figcaption></figure>"
    )


def data(name: str, value: Any) -> Markup:
    """Return JSON for the script of the page. `<` is written as its number: no text can end the element."""
    plain = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{text(name)}">{plain}</script>')


def chart(name: str, about: str, spec: Mapping[str, Any]) -> Markup:
    """Return the element of a chart that the script of the page draws, with its specification."""
    return Markup(
        f'<div class="plot" id="{text(name)}" role="img" aria-label="{text(about)}" data-spec="{text(name)}-spec">'
        f"</div>{data(f'{name}-spec', spec)}"
    )


def facts(values: Mapping[str, object]) -> Markup:
    """Return names with their values."""
    inner = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in values.items())
    return Markup(f"<dl>{inner}</dl>")
