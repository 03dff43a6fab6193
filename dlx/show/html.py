"""Results as HTML for notebooks: tables whose texts are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .terminal_text import visible

MOST_ROWS = 100
"""Most rows of a table in a notebook."""


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", notes: Sequence[str] = ()) -> str:
    """Build a table of at most MOST_ROWS rows. A title that starts with `>` aligns its column to the right."""
    every = [*rows]
    body = "".join(_row("td", row, titles) for row in every[:MOST_ROWS])
    more = [f"{len(every) - MOST_ROWS:,} more rows"] if len(every) > MOST_ROWS else []
    head = (
        f"<thead>{_row('th', [title.removeprefix('>') for title in titles], titles)}</thead>" if any(titles) else ""
    )
    below = "".join(f"<div>{text(note)}</div>" for note in (*notes, *more))
    above = f"<div><b>{text(caption)}</b></div>" if caption else ""
    return f"<div>{above}<table>{head}<tbody>{body}</tbody></table>{below}</div>"


def facts(caption: str, values: Mapping[str, Any]) -> str:
    """Build a table of names and values."""
    return table(("", ""), values.items(), caption)


def figures(metrics: Mapping[str, float]) -> dict[str, str]:
    """Write metrics with four digits."""
    return {name: figure(value) for name, value in metrics.items()}


def figure(value: float) -> str:
    return f"{value:.4g}"


def text(value: object) -> str:
    """Escape a value for HTML, control characters too."""
    return escape(visible(str(value)))


def _row(tag: str, cells: Sequence[Any], titles: Sequence[str]) -> str:
    aligned = ["right" if title.startswith(">") else "left" for title in titles]
    inner = "".join(
        f'<{tag} style="text-align: {side}">{text(cell)}</{tag}>' for cell, side in zip(cells, aligned, strict=True)
    )
    return f"<tr>{inner}</tr>"
