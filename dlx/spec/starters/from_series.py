"""The spec that fits a table that is series in even steps of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError
from ...lazy import np
from .lines import Draft, one_line, quoted, training_lines, with_comment

if TYPE_CHECKING:
    from ...data.series.content import SeriesRows
    from ...data.tables.frame import Frame

LEAST_ROWS = 40
"""Rows of the shortest series from which on there are windows in each part."""
DAY = 86_400_000_000
"""Microseconds of a day."""
SEASONS = (
    (60_000_000, 60, "an hour of minutes"),
    (DAY // 24, 24, "a day of hours"),
    (DAY, 7, "a week of days"),
    (7 * DAY, 52, "a year of weeks"),
    (31 * DAY, 12, "a year of months"),
    (92 * DAY, 4, "a year of quarters"),
)
"""Longest step in microseconds, rows of a season, and what that is."""
PART = 0.15


@dataclass(frozen=True)
class FoundSeries:
    """Series of a table: the column of time, that of their names where there are several, and their rows."""

    time: str
    group: str | None
    content: SeriesRows

    @property
    def shortest(self) -> int:
        return min(map(len, self.content.rows))

    def season(self) -> tuple[int, str]:
        """Return the rows of a season by the step of the times, and what it is; 1 where it is not known."""
        rows = self.content.rows[0]
        step = float(np.median(np.diff(self.content.times[rows])))
        found = next(((count, what) for longest, count, what in SEASONS if step <= longest), (1, ""))
        return found if 3 * found[0] <= self.shortest * (1 - 2 * PART) else (1, "")


def found_series(frame: Frame, target: str) -> FoundSeries | None:
    """Return the series of a table whose rows are in even steps of a column of dates; None where they are not."""
    from ...data.series.rows import rows_of
    from ...data.series.series import Series

    sorts = frame.sorts()
    for time in (name for name in frame.names if sorts.get(name) == "date"):
        for group in (None, *(name for name in frame.names if sorts.get(name) == "text" and name != target)):
            source = Series(path=frame.path, values=target, time=time, group=group)
            try:
                content, _ = rows_of(source, frame)
            except DataError:
                continue
            found = FoundSeries(time, group, content)
            if found.shortest >= LEAST_ROWS:
                return found
    return None


def series_draft(data: Path, path: str, name: str, frame: Frame, target: str, found: FoundSeries) -> Draft:
    lines = "\n".join(_lines(data, path, name, frame, target, found)) + "\n"
    table = f"`data: {{table: {{path: {path}, target: {quoted(target)}}}}}`"
    note = f"{one_line(found.time)} goes on in even steps: {one_line(target)} is forecast from what was before; "
    return Draft(lines, (note + f"rows that have nothing to do with each other are {table}",))


def _lines(data: Path, path: str, name: str, frame: Frame, target: str, found: FoundSeries) -> Iterator[str]:
    period, season = found.season()
    window = 2 * period if period > 1 else 8
    count = len(found.content.rows)
    yield f"# `dlx new --data {one_line(data.name)}`: {len(frame):,} rows, {count} series"
    yield "dlx: 1"
    yield f"name: {name}"
    yield "data:"
    yield "  series:"
    yield f"    path: {path}"
    yield with_comment(f"    time: {quoted(found.time)}", "its rows go on in even steps")
    if found.group is not None:
        yield with_comment(f"    group: {quoted(found.group)}", "the name of the series")
    yield with_comment(f"    values: {quoted(target)}", "what is forecast")
    rest = [one for one in frame.names if one not in (target, found.time, found.group)]
    if rest:
        names = ", ".join(one_line(one) for one in rest)
        yield with_comment(f"    # {names}", "`known: [...]` takes columns known ahead, `past: [...]` others")
    yield with_comment(f"    window: {window}", "rows of the past that an example has")
    yield with_comment("    horizon: 1", "rows after them that are forecast")
    if period > 1:
        yield with_comment(f"    period: {period}", f"rows of a season: {season}")
    scale = "global" if found.group is None else "series"
    yield with_comment(f"    standardize: {scale}", "mean 0 and deviation 1 in the training part")
    yield f"    valid: {PART}"
    yield f"    test: {PART}"
    yield "network:"
    yield "  layers:"
    yield "    - flatten"
    yield "    - linear: 16"
    yield "    - relu"
    yield "    - linear: 1"
    yield "objective: forecast"
    yield from training_lines(int(len(frame) * (1 - 2 * PART)), "{adamw: {lr: 3e-3, weight_decay: 0.01}}")
    seasonal = f", {{seasonal_naive: {period}}}" if period > 1 else ""
    yield with_comment(f"baselines: [naive{seasonal}]", "`dlx baseline`")
