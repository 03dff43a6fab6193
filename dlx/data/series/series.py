"""Series of values along time from a file: examples are windows of the past and what comes after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...errors import DataError
from ...registry import FilePath
from ..base import ColumnUse, ColumnValues, Sets
from ..python_inputs import Columns, frame_of
from ..tables.cells import Notation
from ..tables.column_values import cells_of, columns_of, values_of
from ..tables.frame import Frame, plain, read
from ..tables.parquet_rows import SUFFIXES
from .base import SeriesData
from .content import SeriesRows
from .new_windows import last_windows, windows_in_memory
from .rows import rows_of, whole

if TYPE_CHECKING:
    from ..base import Values
    from ..input_record import InputRecord
    from ..new_inputs import NewInputs

OF_CSV = ("delimiter", "thousands", "decimal", "na_values")
"""Fields that describe the notation of a CSV file."""
COLUMNS = "`values` names the columns to forecast, `past` and `known` others."
Names = Annotated[str | list[str], Field(min_length=1)]


class Series(SeriesData):
    """Windows of series from a CSV or parquet file, and the values that come after each of them.

    Fields: `input` (window, columns), the columns of `values` and then those of `past`; `target` (horizon,), or
        (horizon, values) where several are forecast, in their own unit; `known` (window + horizon, columns) where
        columns are known ahead; `scale` (3, values), mean, deviation and naive error of the training part, by which
        an objective brings outputs to the unit of the targets; `id`, the series and the time of the last row of the
        window.
    Parts are cut at the same times for all series, the test part last. All targets of an example lie within its part,
        so that no part reaches targets of another; its window may reach back into the parts before, which are past.
    Errors: a column that is not there, or not of numbers; times that are unsorted, repeated or with gaps; missing
        values; a series too short for one example; a part without one.
    Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.8.
    """

    kind: ClassVar[str] = "series"
    path: FilePath = Field(description="CSV file (gzipped or not, .tsv with tabs) or parquet file")
    values: Names = Field(description="column of numbers to forecast, or several")
    time: str | None = Field(None, description="column of dates or numbers; null: a row is a step")
    group: str | None = Field(None, description="column of the name of the series, where a file has several")
    past: list[str] = Field([], description="further columns of numbers that are known up to now")
    known: list[str] = Field([], description="columns of numbers that are known ahead, such as holidays")
    missing: Literal["refuse", "previous"] = Field(
        "refuse", description="what is done about missing values: an error, or the value before"
    )
    missing_steps: Literal["refuse", "ignore"] = Field(
        "refuse", description="what is done about steps in time that are left out: an error, or nothing"
    )
    time_format: str | None = Field(
        None, description="of dates that are not in ISO 8601, as Python's strptime has it"
    )
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="between values; null: comma or tab")
    thousands: str | None = Field(
        None, min_length=1, max_length=1, description="between groups of three digits, in a CSV file"
    )
    decimal: str = Field(".", min_length=1, max_length=1, description="before a fraction, in a CSV file")
    na_values: list[str] = Field([], description="further texts of a CSV file that stand for a missing value")

    source: ClassVar[str] = "series"
    field_hints: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("target", "targets", "columns"), COLUMNS),
        **dict.fromkeys(("lags", "lookback", "input_length", "context"), "`window` is the number of past rows."),
        **dict.fromkeys(("steps", "output_length", "prediction_length"), "`horizon` is the number of rows ahead."),
        **dict.fromkeys(("split", "seed", "shuffle"), "Parts are cut by time: nothing is drawn."),
        **dict.fromkeys(("season", "seasonality"), "`period` is the number of rows of a season."),
    }

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        named = [*self.forecast, *self.past, *self.known, *filter(None, (self.time, self.group))]
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise ValueError(
                f"the column `{twice}` is named twice: keep one of `values`, `past`, `known`, `time` and `group`"
            )
        if self.thousands == self.decimal:
            raise ValueError(f"`thousands` and `decimal` are both `{self.decimal}`: give two different ones")
        if self.time_format is not None and self.time is None:
            raise ValueError("`time_format` is of the column `time`, and none is named: name it")
        return self

    @property
    def forecast(self) -> list[str]:
        """Columns that are forecast."""
        return [self.values] if isinstance(self.values, str) else self.values

    @property
    def notation(self) -> Notation:
        return Notation(self.thousands, self.decimal)

    @property
    def also_past(self) -> list[str]:
        return self.past

    @property
    def known_ahead(self) -> list[str]:
        return self.known

    @property
    def files(self) -> list[Path]:
        return [self.path]

    @property
    def origin(self) -> str:
        return f"{self.source} {self.path}"

    def content(self) -> SeriesRows:
        return self._content_and_frame()[0]

    def _content_and_frame(self) -> tuple[SeriesRows, Frame]:
        provided = [name for name in OF_CSV if name in self.model_fields_set and getattr(self, name)]
        if provided and self.path.suffix in SUFFIXES:
            message = f"`{provided[0]}` is for CSV files, and {self.path} holds columns with names and types"
            raise DataError(message, hint="Leave it out.")
        content, frame = rows_of(self, read(Path(self.path), None, self.delimiter, self.na_values))
        return whole(self, content, frame), frame

    def uses(self) -> tuple[ColumnUse, ...]:
        uses = [ColumnUse(name, "target, values", 1, "`values` names it", "target") for name in self.forecast]
        uses += [ColumnUse(name, "past values", 1, "`past` names it", "input") for name in self.past]
        uses += [ColumnUse(name, "values known ahead", 1, "`known` names it", "known") for name in self.known]
        uses += [ColumnUse(self.time, "time", 0, "`time` names it")] if self.time is not None else []
        return (*uses, *([ColumnUse(self.group, "series", 0, "`group` names it")] if self.group is not None else []))

    def column_values(self) -> tuple[ColumnValues, ...]:
        return tuple(values_of(name, column) for name, column in columns_of(self._content_and_frame()[1]))

    def cells(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return cells_of(self._content_and_frame()[1], rows)

    def source_columns(self) -> list[str]:
        return [name for name in read(Path(self.path), None, self.delimiter, self.na_values).names if name]

    def source_column(self, name: str, sets: Sets) -> dict[str, Sequence[Any]]:
        """Return a column at the last row of the window of each example."""
        frame = read(Path(self.path), None, self.delimiter, self.na_values)
        frame.check([name], "--by")
        column = plain(frame.only([name]).typed(self.notation).table.column(name)).to_pylist()
        rows = {n: [] if part.rows is None else part.rows.tolist() for n, part in sets.parts().items()}
        return {n: [column[i] for i in mine] for n, mine in rows.items()}

    # --- new inputs -------------------------------------------------------------------------------------------------

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        return last_windows(self, read(path, None, self.delimiter, self.na_values), record)

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        if isinstance(inputs, Columns):
            return last_windows(self, frame_of(inputs), record)
        return windows_in_memory(self, inputs, record)
