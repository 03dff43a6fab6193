"""Rows of a file of series: columns of time, group and values, checked to be whole, sorted and without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np
from ..tables.cells import numeric
from ..tables.dates import iso_dates, proposed_formats, temporal
from ..tables.frame import Frame, category_text, plain
from ..tables.missing_values import missing as masks_of
from .content import SeriesRows
from .steps import Clock

if TYPE_CHECKING:
    from ..preprocess.sums import Doubles
    from .content import Rows
    from .series import Series


def whole(source: Series, content: SeriesRows, frame: Frame) -> SeriesRows:
    """Return rows without missing values, filled in as `missing` says. DataError where it refuses them."""
    past = [*source.forecast, *source.past]
    lacking = masks_of(frame.only([*past, *source.known]))
    if not lacking:
        return content
    if source.missing == "refuse":
        row, name = min((int(mask.argmax()), name) for name, mask in lacking.items())
        counts = " and ".join(f"`{name}` {int(mask.sum()):,}" for name, mask in list(lacking.items())[:5])
        raise DataError(
            f"values are missing in {frame.path}, first in row {row + 1:,} of column `{name}`; of "
            f"{len(frame):,} rows: {counts}",
            hint="`missing: previous` takes the value before; or fill them in.",
        )
    filled = replace(content, past=content.past.copy(), known=content.known.copy())
    for rows in content.rows:
        filled.fill(filled.past, rows, past)
        filled.fill(filled.known, rows, source.known)
    return filled


def rows_of(source: Series, frame: Frame) -> tuple[SeriesRows, Frame]:
    """Return the rows of a file as series, and the columns in use with their types.

    DataError where a column is missing, or the times are out of order.
    """
    past = [*source.forecast, *source.past]
    for field in ("time", "group", "values", "past", "known"):
        named = getattr(source, field) or []
        frame.check([named] if isinstance(named, str) else named, field)
    wanted = [*past, *source.known, *filter(None, (source.time, source.group))]
    formats = {source.time: source.time_format} if source.time is not None and source.time_format else {}
    typed = frame.only(wanted).typed(
        source.notation, keep_zeros=[source.group] if source.group else (), dates=formats
    )
    names, rows = _groups(source, typed)
    clock = _clock(source, typed, rows)
    clock.check(rows, names, ignore_missing=source.missing_steps == "ignore")
    tables = [_numbers(typed, columns) for columns in (past, source.known)]
    return SeriesRows(str(frame.path), names, rows, clock.times, clock.labels, *tables), typed


def _groups(source: Series, frame: Frame) -> tuple[tuple[str, ...], tuple[Rows, ...]]:
    """Return the names of the series, in the order of their first rows, and the rows of each."""
    if source.group is None:
        return ("",), (np.arange(len(frame)),)
    texts, codes = frame.categories(source.group)
    absent = codes < 0 if None not in texts else (codes < 0) | (codes == texts.index(None))
    if absent.any():
        where = f"row {int(absent.argmax()) + 1:,} of column `{source.group}` of {frame.path}"
        raise DataError(f"{where} is missing, and `group` names the series by it", hint="Fill it in, or take it out.")
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(codes, minlength=len(texts)))[:-1])
    return tuple(map(str, texts)), tuple(rows)


def _clock(source: Series, frame: Frame, rows: Sequence[Rows]) -> Clock:
    """Return the times of the rows."""
    if source.time is None:
        times = np.zeros(len(frame))
        for mine in rows:
            times[mine] = np.arange(len(mine))
        return Clock("", str(frame.path), times, tuple(f"{int(one) + 1}" for one in times), is_date=False)
    column = plain(frame.table.column(source.time))
    where = f"column `{source.time}` of {frame.path}"
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax())
        message = f"row {row + 1:,} of {where} is missing, and each row has its time"
        raise DataError(message, hint="Fill it in, or take the row out.")
    if not temporal(column.type) and not numeric(column.type):  # texts of a parquet file, or from memory
        found = iso_dates(column, column.unique())
        column = column if found is None else found
    if temporal(column.type):
        return Clock(source.time, str(frame.path), _moments(column, where), _texts(column), is_date=True)
    if numeric(column.type):
        return Clock(source.time, str(frame.path), frame.numbers(source.time), _texts(column), is_date=False)
    known = column.unique().to_pylist()
    forms = proposed_formats(known)
    ways = " or ".join(f'`time_format: "{form}"`' for form in forms)
    hint = f"{ways} reads it." if forms else "Write ISO 8601, such as 2024-01-31, or give a `time_format`."
    raise DataError(f"row 1 of {where} holds `{column[0].as_py()}`, which is neither a date nor a number", hint=hint)


def _moments(column: Any, where: str) -> Doubles:
    """Return dates or moments as microseconds, which float64 holds exactly for 285 years around 1970."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_time(column.type):
        raise DataError(f"{where} holds times of a day, and each row wants a date too", hint="Join date and time.")
    zone = column.type.tz if types.is_timestamp(column.type) else None
    found = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    return np.asarray(found.to_numpy(), np.float64)


def _texts(column: Any) -> tuple[str, ...]:
    return tuple(category_text(one) for one in column.to_pylist())


def _numbers(frame: Frame, columns: Sequence[str]) -> Doubles:
    """Return columns of numbers (rows, columns), nan where missing. DataError where one holds something else."""
    kinds = frame.sorts()
    for name in columns:
        if kinds.get(name) != "number":
            held = {"text": "texts", "date": "dates"}.get(kinds.get(name, ""), "no values")
            message = f"column `{name}` of {frame.path} holds {held}, and a series is of numbers"
            example = next((text for text in plain(frame.table.column(name)).to_pylist() if text is not None), None)
            hint = (
                ""
                if example is None
                else f"Its first is `{example}`: `na_values: [...]` takes texts for missing values."
            )
            raise DataError(message, hint=hint)
    return np.stack([frame.numbers(name) for name in columns], 1) if columns else np.zeros((len(frame), 0))
