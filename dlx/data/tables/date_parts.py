"""Dates and times as inputs: their parts, and the phase of those that repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ...errors import DataError
from ...lazy import np
from ...registry import Strict
from .cells import as_array
from .frame import LIKE

if TYPE_CHECKING:
    from ..preprocess.sums import Doubles

Part = Literal[
    "year", "quarter", "month", "week", "day", "weekday", "day_of_year", "hour", "minute", "second", "timestamp"
]
ONCE = ("year", "timestamp")
"""Parts that do not repeat."""
OF_DAY = ("hour", "minute", "second")
DEFAULT: dict[str, tuple[Part, ...]] = {
    "date": ("year", "month", "day", "weekday"),
    "moment": ("year", "month", "day", "weekday", "hour"),
    "time": ("hour", "minute"),
}
CONTENTS = {"date": "dates without a time", "moment": "dates with a time", "time": "times of a day"}


class DateOptions(Strict):
    """How a column of dates or times becomes inputs."""

    parts: list[Part] | None = Field(
        None,
        min_length=1,
        description="inputs; null: year, month, day and weekday, with a time hour too, of times hour and minute",
    )
    cyclic: bool = Field(
        True, description="give parts that repeat as sine and cosine of their phase, two inputs; else as numbers"
    )
    format: str | None = Field(
        None, min_length=2, description="of the texts where it is not ISO 8601, as of Python's strptime: %d.%m.%Y"
    )


Dates = Annotated[
    dict[str, DateOptions | list[Part]],
    Field(description="columns of dates or times, and their parts or options; `*` for those that are not named"),
]


@dataclass(frozen=True)
class DateEncoding:
    """Encoding of a column of dates or times.

    Attributes:
        kind: "date", "moment" (a date with a time) or "time".
        parts: names of the parts, in the order of the inputs.
        cyclic: whether a part that repeats is the sine and cosine of its phase.
        format: format of the texts; None for ISO 8601.
    """

    kind: str
    parts: tuple[str, ...]
    cyclic: bool = True
    format: str | None = None

    @property
    def widths(self) -> list[int]:
        """Number of inputs of each part."""
        return [2 if self.cyclic and part not in ONCE else 1 for part in self.parts]

    @property
    def numbers(self) -> list[int]:
        """Places of the inputs that are numbers, not sine or cosine."""
        return [sum(self.widths[:i]) for i, width in enumerate(self.widths) if width == 1]

    @property
    def described(self) -> str:
        plain = [part for part, width in zip(self.parts, self.widths, strict=True) if width == 1]
        waves = [part for part, width in zip(self.parts, self.widths, strict=True) if width == 2]
        return "; ".join(filter(None, [", ".join(plain), f"sine and cosine of {', '.join(waves)}" if waves else ""]))

    def encode(self, column: Any) -> Doubles:
        """Return the inputs (rows, width) of a pyarrow column; nan for missing values."""
        import pyarrow as pa
        from pyarrow import types

        if self.kind == "moment" and types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        found: list[Any] = []
        for part, width in zip(self.parts, self.widths, strict=True):
            value = part_of(column, part)
            if width == 1:
                found.append(value)
            else:
                phase = 2 * np.pi * (value - FIRST.get(part, 0)) / period_of(column, part)
                found += [np.sin(phase), np.cos(phase)]
        return np.stack(found, 1)


FIRST = {"quarter": 1, "month": 1, "week": 1, "day": 1, "day_of_year": 1}
"""Least values of parts that do not count from 0."""
PERIODS = {"quarter": 4, "month": 12, "week": 52, "weekday": 7, "hour": 24, "minute": 60, "second": 60}


def part_of(column: Any, part: str) -> Doubles:
    """Return a part of each date as float64; Monday is weekday 0, `week` is that of ISO 8601.

    `timestamp` has the seconds since 1970 of a moment with a zone, or of one without as if it were in UTC.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if part == "timestamp":
        fine = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False)
        return _doubles(fine.cast(pa.int64())) / 1e6
    if part == "second":
        return _doubles(pc.second(column)) + _doubles(pc.subsecond(column))
    names = {"week": "iso_week", "weekday": "day_of_week"}
    return _doubles(getattr(pc, names.get(part, part))(column))


def period_of(column: Any, part: str) -> Doubles | float:
    """Return the number of steps after which a part begins anew, for days of the month or year at hand."""
    import pyarrow.compute as pc

    if part == "day_of_year":
        return 365 + _doubles(pc.is_leap_year(column).cast("uint8"))
    if part != "day":
        return PERIODS[part]
    months = (_doubles(pc.year(column)) - 1970) * 12 + _doubles(pc.month(column)) - 1
    lacking = np.isnan(months)
    first = np.where(lacking, 0, months).astype("datetime64[M]")
    days = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.float64)
    return np.where(lacking, np.nan, days)


def _doubles(column: Any) -> Doubles:
    import pyarrow as pa

    values: Doubles = as_array(column.cast(pa.float64()), float("nan"))
    return values


def check_same_dates(encoding: DateEncoding, kind: Any, where: str) -> None:
    """Raise a DataError where times of a day come for dates, or dates for times."""
    if (found := _sort(kind)) != encoding.kind and "time" in (found, encoding.kind):
        raise DataError(f"{where} holds {CONTENTS[found]}, and {CONTENTS[encoding.kind]} were trained on", hint=LIKE)


def _sort(kind: Any) -> str:
    from pyarrow import types

    return "date" if types.is_date(kind) else "time" if types.is_time(kind) else "moment"


def date_encoding(kind: Any, options: DateOptions | Sequence[Part] | None, name: str, where: str) -> DateEncoding:
    """Return the encoding of a column of a pyarrow type. DataError for a part that its values do not have."""
    sort = _sort(kind)
    chosen = options if isinstance(options, DateOptions) else DateOptions(parts=list(options) if options else None)
    parts = tuple(chosen.parts) if chosen.parts else DEFAULT[sort]
    wrong = {"date": [p for p in parts if p in OF_DAY], "time": [p for p in parts if p not in OF_DAY]}.get(sort)
    if wrong:
        raise DataError(
            f"{where} holds {CONTENTS[sort]}, which have no `{wrong[0]}`, and `dates` asks for it",
            hint=f"Write `dates: {{{name}: [{', '.join(p for p in DEFAULT[sort])}]}}`.",
        )
    return DateEncoding(sort, tuple(dict.fromkeys(parts)), chosen.cyclic, chosen.format)
