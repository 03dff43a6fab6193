"""Figures as files: SVG, PNG and PDF by vl-convert, TikZ and CSV as text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from ..errors import DlxError
from . import output as files
from .charts import Json, chart
from .charts_style import Theme
from .charts_tikz import tikz
from .plot_figure import Figure, Matrices
from .sheet import Sheet

if TYPE_CHECKING:
    from .plot import Shown

Format = Literal["svg", "png", "pdf", "tikz", "csv"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
OTHERS: Final = {"tex": "tikz"}
"""Suffixes that mean a format of another name."""
POINTS = 2000
"""Points of a curve in a picture of 380 pixels, at most: more than there are pixels."""


def format_of(output: Path | None, chosen: Format | None) -> Format:
    """Return the format that is asked for, by name or by the suffix of the file. DlxError where both differ."""
    return cast("Format", files.format_of(output, chosen, FORMATS, OTHERS))


def write(figure: Shown, path: Path, form: Format, theme: Theme = "light") -> None:
    """Write a figure to a file. DlxError where it cannot be written."""
    if theme == "dark" and form in {"tikz", "csv"}:
        raise DlxError(f"`--theme dark` is for pictures, and the format is {form}", hint="Leave it out.")
    files.write(path, content_of(figure, form, theme))


def content_of(figure: Shown, form: Format, theme: Theme = "light") -> bytes:
    """Return the bytes of a figure in a format."""
    if form == "csv":
        return _csv(figure).encode()
    if form == "tikz":
        if not isinstance(figure, Figure | Matrices):
            raise DlxError(f"`--kind {figure.kind}` is not written as tikz", hint="Take svg, png, pdf or csv.")
        return tikz(figure).encode()
    if isinstance(figure, Sheet):
        return files.rendered(figure.picture(theme), form)
    if isinstance(figure, Figure):
        figure = figure.thinned(POINTS)
    return rendered(chart(figure, theme), form)


def rendered(spec: Json, form: Literal["svg", "png", "pdf"]) -> bytes:
    """Return a specification of Vega-Lite as a picture."""
    import vl_convert

    text = json.dumps(spec, allow_nan=False)
    make: dict[str, Callable[[], str | bytes]] = {
        "svg": lambda: vl_convert.vegalite_to_svg(text),
        "png": lambda: vl_convert.vegalite_to_png(text, scale=files.SCALE),
        "pdf": lambda: vl_convert.vegalite_to_pdf(text),
    }
    content = make[form]()
    return _numbered(content).encode() if isinstance(content, str) else content


def _numbered(svg: str) -> str:
    """Return a picture with its clip paths and gradients numbered from 0: Vega counts on from picture to picture."""
    names: dict[str, str] = {}

    def renamed(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"{found[1] or found[2]}{len(names)}")

    return re.sub(r'(?<=id=")(clip|gradient_)\d+(?=")|(?<=url\(#)(clip|gradient_)\d+(?=\))', renamed, svg)


def _csv(figure: Shown) -> str:
    titles, rows = figure.table()
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(rows)
    return text.getvalue()
