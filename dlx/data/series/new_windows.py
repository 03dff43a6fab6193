"""Windows of series that come after training: the last one of each series of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import DataError, plural
from ...lazy import np
from ..new_inputs import NewInputs, shaped
from ..python_inputs import INPUTS
from .rows import rows_of
from .windows import ALL, Scales

if TYPE_CHECKING:
    from ..base import Values
    from ..input_record import InputRecord
    from ..tables.frame import Frame
    from .content import Rows, SeriesRows
    from .series import Series


def last_windows(source: Series, frame: Frame, record: InputRecord) -> NewInputs:
    """Return the last window of each series, named by the series and the time of its last row.

    Rows without values at the end of a series are the future: columns that are known ahead are read from them.
    DataError where a series has too few rows, or is a new one of a scale of its own.
    """
    content, _ = rows_of(source, frame)
    ends = [_end(content, rows) for rows in content.rows]
    for name, rows, end in zip(content.names, content.rows, ends, strict=True):
        _check_length(source, f"the series `{name}` of {frame.path}" if name else str(frame.path), len(rows), end)
    past = [rows[end - source.window : end] for rows, end in zip(content.rows, ends, strict=True)]
    ahead = [rows[end - source.window : end + source.horizon] for rows, end in zip(content.rows, ends, strict=True)]
    _fill(source, content, past, ahead)
    scales = Scales.of_json(record.reading["scales"])
    if source.standardize == "series" and (new := [name for name in content.names if name not in scales.past]):
        message = f"the series `{new[0]}` of {frame.path} was not trained on, and each has a scale of its own"
        raise DataError(message, hint="Train with `standardize: global`, or take its rows out.")
    each = np.stack([scales.of(name) for name in content.names])
    x = (np.stack([content.past[rows] for rows in past]) - each[:, :1]) / each[:, 1:2]
    more: dict[str, Values] = {}
    if source.known:
        more["known"] = (np.stack([content.known[rows] for rows in ahead]) - scales.known[0]) / scales.known[1]
    named = zip(content.names, past, strict=True)
    names = tuple(f"{name} {content.labels[rows[-1]]}".strip() for name, rows in named)
    return NewInputs(x, names, more, units=_units(source, each))


def windows_in_memory(source: Series, inputs: Values, record: InputRecord) -> NewInputs:
    """Return an array of windows (n, window, columns) in the unit of the file. DataError for another shape, and where
    an array does not tell all.
    """
    if source.known or source.standardize == "series":
        why = "values that are known ahead belong to them" if source.known else "each series has a scale of its own"
        message = f"{INPUTS} are an array of windows, and {why}"
        raise DataError(message, hint="Give columns by name: a DataFrame, or a mapping.")
    x = shaped(np.asarray(inputs, np.float64), record.raw, INPUTS)
    each = np.repeat(Scales.of_json(record.reading["scales"]).of(ALL)[None], len(x), 0)
    return NewInputs((x - each[:, :1]) / each[:, 1:2], units=_units(source, each))


def _units(source: Series, each: Any) -> Any:
    return each[:, :, : len(source.forecast)].astype(np.float32)


def _end(content: SeriesRows, rows: Rows) -> int:
    """Return the number of rows of a series up to the last one with a value."""
    there = np.flatnonzero(~np.isnan(content.past[rows]).all(1))
    return int(there[-1]) + 1 if len(there) else 0


def _check_length(source: Series, of: str, count: int, end: int) -> None:
    if end < source.window:
        message = f"{of} has {plural(end, 'row')} with values, and the network takes a window of {source.window:,}"
        raise DataError(message, hint="Give more rows of the past.")
    if source.known and count < end + source.horizon:
        listed = ", ".join(f"`{one}`" for one in source.known)
        message = (
            f"{of} has {plural(count - end, 'row')} after the last value, and the network takes {listed} of the "
        )
        message += f"next {source.horizon:,}"
        raise DataError(message, hint="Add rows for them, with nothing under the values.")


def _fill(source: Series, content: SeriesRows, past: list[Rows], ahead: list[Rows]) -> None:
    """Fill in missing values of the rows in use. DataError where `missing` refuses them."""
    columns = [*source.forecast, *source.past]
    for table, names, each in ((content.past, columns, past), (content.known, source.known, ahead)):
        for rows in each:
            lacking = np.argwhere(np.isnan(table[rows]))
            if len(lacking) and source.missing == "refuse":
                row, place = lacking[0].tolist()
                message = f"row {rows[row] + 1:,} of column `{names[place]}` of {content.where} is missing"
                raise DataError(message, hint="Fill it in; `missing: previous` in the spec takes the value before.")
            if len(lacking):
                content.fill(table, rows, names)
