"""Results of analyses as files: SVG, PNG and PDF of their panels, CSV of their table, JSON of all."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from ..analysis.result import Panel, Pictures, plain
from ..errors import DlxError
from . import output as files
from . import svg
from .analysis_charts import chart, is_pictures
from .charts_files import rendered
from .charts_style import INK, Theme
from .sheet import Row, Sheet, Tile

if TYPE_CHECKING:
    from ..analysis.analyze import Analyzed

Format = Literal["svg", "png", "pdf", "csv", "json"]
FORMATS: Final[tuple[Format, ...]] = ("svg", "png", "pdf", "csv", "json")
OPTION: Final = "--out"
SIZE = re.compile(r'<svg[^>]*? width="([\d.]+)" height="([\d.]+)"')


def format_of(path: Path) -> Format:
    """Return the format that the suffix of a file says. DlxError where it says none."""
    return cast("Format", files.format_of(path, None, FORMATS, option=""))


def check_writable(path: Path) -> None:
    """Raise DlxError where a file cannot be written, before anything is computed."""
    files.check_writable(path, OPTION)


def write(one: Analyzed, path: Path, form: Format, theme: Theme = "light") -> None:
    """Write what an analysis found to a file. DlxError where it cannot be written, or has nothing to draw."""
    files.write(path, content_of(one, form, theme), OPTION)


def content_of(one: Analyzed, form: Format, theme: Theme = "light") -> bytes:
    """Return the bytes of what an analysis found in a format."""
    if form == "json":
        return f"{json.dumps(one.as_json(), indent=2, allow_nan=False)}\n".encode()
    if form == "csv":
        return _csv(*one.result.table).encode()
    panels = one.result.panels
    if not panels:
        raise DlxError(f"`{one.kind}` has no figure, its numbers alone", hint="Take .csv or .json.")
    charts, sheets = [p for p in panels if not is_pictures(p)], [p for p in panels if is_pictures(p)]
    if not sheets:
        return rendered(chart(charts, theme), form)
    picture = sheet(sheets).picture(theme)
    if charts:
        picture = _stacked(_parsed(rendered(chart(charts, theme), "svg").decode()), picture, theme)
    return files.rendered(picture, form)


def sheet(panels: Sequence[Panel]) -> Sheet:
    """Return panels of pictures as a sheet, `columns` of them in a line."""
    rows: list[Row] = []
    for panel in panels:
        for mark in panel.marks:
            if not isinstance(mark, Pictures):
                continue
            tiles = [Tile(caption, values) for caption, values in map(_tile, mark.pictures)]
            for first in range(0, len(tiles), mark.columns):
                few = tuple(tiles[first : first + mark.columns])
                rows.append(Row("" if first else panel.title, few, "picture", "middle"))
    return Sheet("features", "", tuple(rows))


def _tile(pair: tuple[str, Any]) -> tuple[str, Any]:
    """Return a picture with three channels, so that it is drawn as it is, without stretching its greys."""
    caption, values = pair
    whole = values if values.ndim == 3 else values[..., None]
    return caption, whole if whole.shape[2] == 3 else whole.repeat(3, axis=2)


def _parsed(text: str) -> svg.Picture:
    found = SIZE.search(text)
    assert found is not None
    return svg.Picture(text, float(found[1]), float(found[2]))


def _stacked(upper: svg.Picture, lower: svg.Picture, theme: Theme) -> svg.Picture:
    """Return two pictures below each other as one."""
    width, height = max(upper.width, lower.width), upper.height + lower.height
    moved = lower.text.replace("<svg ", f'<svg y="{upper.height:g}" ', 1)
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    root = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    paper = f'<rect width="{width:g}" height="{height:g}" fill="{INK[theme]["background"]}"/>'
    return svg.Picture(f"{root}{paper}{upper.text}{moved}</svg>", width, height)


def _csv(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([[plain(cell) for cell in row] for row in rows])
    return text.getvalue()
