"""Dates and times of a table: texts to moments, ISO 8601 or of a named format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ...errors import DataError, Problem

DATE = r"\d{4}-\d\d-\d\d"
CLOCK = r"\d\d:\d\d(:\d\d(\.\d+)?)?"
ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
ISO = rf"{DATE}([T ](\d\d|{CLOCK}){ZONE}?)?"
"""Texts that are shaped like a date in ISO 8601, with a time or without."""
MOSTLY = 0.5
"""Fraction of the different texts of a column that are shaped like dates, above which dates are meant."""
SHAPED = re.compile(
    r"(\d{8}|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2} \w{3,9} \d{4}|\w{3,9} \d{1,2},? \d{4})([ T]\d.*)?"
)
"""Texts that a person would read as dates."""
FORMATS: tuple[str, ...] = (
    "%d.%m.%Y",
    "%d.%m.%y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%m-%d-%Y",
)
FORMATS += ("%Y.%m.%d", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%Y-%m-%d", "%Y%m%d")
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S", " %H:%M:%S.%f")
"""Formats that are proposed for columns of texts that are shaped like dates."""
LOOKED_AT = 1_000
"""Number of texts that a format is proposed from."""


def temporal(kind: Any) -> bool:
    """Whether a pyarrow type is of dates, of times, or of both."""
    from pyarrow import types

    return bool(types.is_date(kind) or types.is_timestamp(kind) or types.is_time(kind))


def iso_dates(column: Any, known: Any) -> Any:
    """Parse dates, times or both, as ISO 8601 has them; None where not all of `known`, the different texts, are."""
    import pyarrow.compute as pc

    if not len(known) or not re.fullmatch(rf"{ISO}|{CLOCK}", known[0].as_py(), re.ASCII):
        return None
    column = pc.utf8_trim_whitespace(column)
    return next((found for kind in _kinds() if (found := _cast(column, kind)) is not None), None)


def required_dates(column: Any, form: str | None, name: str, where: str, because: str = "") -> Any:
    """Parse a column of texts in which all are dates, ISO 8601 or of the format `form`.

    Raises:
        DataError: with the row and the text of the first one that is no date.
    """
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    known = pc.unique(column).drop_null()
    if form is not None:
        return _of_format(column, form, name, where)
    if (found := iso_dates(column, known)) is not None or not len(known):
        return found if found is not None else _cast(column, _kinds()[0])
    # The kind that reads the longest run of rows from the first on decides what the others are held against
    row = max(_first_unreadable(column, kind) for kind in _kinds())
    text = column[row].as_py()
    formats = [form for form in proposed_formats(known.to_pylist()) if _parsed(text, form) is not None]
    what = f"is no date{because}"
    if re.fullmatch(ISO, text) and _is_date(text):
        what = (
            "has a zone, and others have none"
            if re.fullmatch(rf".*:.*{ZONE}", text)
            else "has no zone, and others have"
        )
    raise _unreadable(text, row, name, where, what, formats)


def mostly_iso(known: Any) -> bool:
    """Whether most texts of a column are shaped like dates in ISO 8601."""
    import pyarrow.compute as pc

    return bool(len(known)) and bool(pc.mean(pc.match_substring_regex(known, f"^{ISO}$")).as_py() > MOSTLY)


def shaped_like_dates(texts: Sequence[str], name: str, where: str) -> Problem | None:
    """Return a warning where most texts of a column look like dates that are not in ISO 8601; else None."""
    shaped = [text for text in texts[:LOOKED_AT] if SHAPED.fullmatch(text)]
    if len(shaped) <= MOSTLY * min(len(texts), LOOKED_AT) or not (found := proposed_formats(shaped)):
        return None
    ways = " or ".join(f'`dates: {{{name}: {{format: "{form}"}}}}`' for form in found)
    message = f"{where} is read as {len(texts):,} different texts, and most of them are shaped like dates, such as"
    return Problem(f"{message} `{shaped[0]}`", f"{ways} reads them; `categorical` says that texts are meant.")


def proposed_formats(texts: Sequence[str]) -> list[str]:
    """Return the formats that fit all texts that look like dates; several where day and month may be either."""
    shaped = [text for text in texts[:LOOKED_AT] if SHAPED.fullmatch(text)]
    if not shaped:
        return []
    found = (date + time for date in FORMATS for time in TIMES if _parsed(shaped[0], date + time) is not None)
    return [form for form in found if all(_parsed(text, form) is not None for text in shaped)]


def _kinds() -> tuple[Any, ...]:
    """Return the types that texts are tried as, in the order of pyarrow's inference; microseconds reach further."""
    import pyarrow as pa

    moments = [pa.timestamp(unit, zone) for zone in (None, "UTC") for unit in ("s", "ns", "us")]
    return (pa.date32(), *moments, pa.time32("s"), pa.time64("us"))


def _cast(column: Any, kind: Any) -> Any:
    """Cast texts to a type; None where one of them does not fit. Times of a day are read as those of a date."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    try:
        if types.is_time(kind):
            return pc.cast(pc.binary_join_element_wise("1970-01-01", column, " "), pa.timestamp("us")).cast(kind)
        return pc.cast(column, kind)
    except pa.ArrowInvalid:
        return None


def _first_unreadable(column: Any, kind: Any) -> int:
    """Return the row of the first text that a type does not fit; there is one."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        if _cast(column.slice(low, middle - low), kind) is None:
            high = middle
        else:
            low = middle
    return low


def _of_format(column: Any, form: str, name: str, where: str) -> Any:
    """Parse texts of a format of Python's `strptime`; moments with a zone in UTC.

    pyarrow's own `strptime` takes the 31st of February for the 2nd of March, and has no fractions of a second.
    """
    import pyarrow as pa

    found = pa.chunked_array([column.combine_chunks()]).combine_chunks().dictionary_encode()
    texts = found.dictionary.to_pylist()
    moments = [_parsed(text, form) for text in texts]
    if None in moments:
        text = texts[moments.index(None)]
        row = int(found.indices.index(texts.index(text)).as_py())
        raise _unreadable(text, row, name, where, f"is no date of the format `{form}`", [])
    zoned = any(moment.tzinfo is not None for moment in moments if moment is not None)
    utc = [moment.astimezone(UTC) if zoned and moment is not None else moment for moment in moments]
    kind = pa.timestamp("us", "UTC" if zoned else None)
    whole = not re.search(r"%[HIMSfpcX]", form)
    values = pa.array(utc, kind).cast(pa.date32()) if whole else pa.array(utc, kind)
    return pa.chunked_array([values.take(found.indices)])


def _is_date(text: str) -> bool:
    import pyarrow as pa

    return iso_dates(pa.chunked_array([[text]]), pa.array([text])) is not None


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def _unreadable(text: str, row: int, name: str, where: str, what: str, formats: Sequence[str]) -> DataError:
    ways = [f'`dates: {{{name}: {{format: "{form}"}}}}` reads dates of another form' for form in formats[:2]]
    ways += [f'`na_values: ["{text}"]` takes it for a missing value', "`categorical` says that texts are meant"]
    return DataError(f"row {row + 1:,} of {where} holds `{text}`, which {what}", hint=f"{'; '.join(ways)}.")
