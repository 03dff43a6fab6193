"""A text coloured by the activations of units, as a page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from ..lazy import np
from .console import TextTable, document, out, say
from .terminal_text import visible

if TYPE_CHECKING:
    from ..trained.activations import Activations, Unit

LEVELS = 10
"""Shades of each sign."""
BLUE, RED = "33, 102, 172", "203, 24, 29"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #111; background: #fff }}
body {{ max-width: 110ch; margin: 2em auto; padding: 0 1em }}
h2 {{ font-size: 1.1em; margin: 2em 0 .4em }}
pre {{ font: 14px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 }}
{shades}
</style></head>
<body>
<h1>{title}</h1>
<p>{what}</p>
<p>{scale}</p>
{notes}
{units}
</body></html>
"""


def activations(found: Activations, as_json: bool) -> None:
    """Write the page into the run, and print the output of `dlx activations`: a unit a line."""
    found.run.write_text(found.file, page(found))
    if as_json:
        document(found.as_json())
        return
    for note in found.notes:
        say(note)
    table = TextTable(">unit", "feature", ">correlation")
    for one in found.units:
        table.add(str(one.number), one.feature or "", "" if one.correlation is None else f"{one.correlation:.3f}")
    table.print()
    out(str(found.run.dir / found.file))


def page(found: Activations) -> str:
    """Return the page: the text once for each unit, coloured by its activation."""
    shades = [
        f".{sign}{i} {{ background: rgba({rgb}, {0.75 * i / LEVELS:g}) }}"
        for sign, rgb in (("p", BLUE), ("n", RED))
        for i in range(1, LEVELS + 1)
    ]
    what = f"{found.what} of {found.layer} over {len(found.pieces):,} tokens of {found.text}. The correlation is "
    what += "Pearson's, of the unit with a feature of the text."
    steps = [f'<span class="{_shade(i)}">{i / LEVELS:+.1f}</span>' for i in range(-LEVELS, LEVELS + 1, 2)]
    return PAGE.format(
        title=_text(f"Activations of {found.run.key}"),
        shades="\n".join(shades),
        what=_text(what),
        scale="The colour: " + " ".join(steps) + "; of a unit that goes beyond 1, shares of its largest.",
        notes="\n".join(f"<p>{_text(note)}</p>" for note in found.notes),
        units="\n".join(_unit(found, one) for one in found.units),
    )


def _unit(found: Activations, unit: Unit) -> str:
    values = found.values[:, unit.number]
    # beyond 1 for states without a bound alone, such as those of `relu`
    levels = np.rint(values / max(1.0, float(np.abs(values).max())) * LEVELS).astype(int).tolist()
    heading = f"Unit {unit.number}"
    if unit.feature is not None:
        heading += f": {unit.feature}, correlation {unit.correlation:.3f}"
    return f"<h2>{_text(heading)}</h2>\n<pre>{''.join(_spans(found.pieces, levels))}</pre>"


def _spans(pieces: tuple[str, ...], levels: list[int]) -> Iterator[str]:
    """Yield runs of tokens of one shade."""
    for level, run in groupby(zip(levels, pieces, strict=True), key=lambda one: one[0]):
        text = _text("".join(piece for _, piece in run))
        yield f'<span class="{_shade(level)}">{text}</span>' if level else text


def _shade(level: int) -> str:
    return f"{'p' if level > 0 else 'n'}{abs(level)}" if level else ""


def _text(text: str) -> str:
    """Escape a text, control characters too, but for line breaks and tabs."""
    return "\n".join("\t".join(escape(visible(one)) for one in line.split("\t")) for line in text.split("\n"))
