"""Rows of a file as a pyarrow table, with the types that its columns have."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, Problem, did_you_mean, listed
from ...lazy import np
from ..file_reading import check_file_size, existing, real_numbers
from .cells import ColumnType, Notation, Typed, as_array, inferred, numeric, typed
from .csv_files import Delimited
from .dates import required_dates, temporal
from .parquet_rows import SUFFIXES, opened

if TYPE_CHECKING:
    from ..base import Labels
    from ..preprocess.sums import Doubles

DATE: ColumnType = "date"
LARGEST = 3e38
"""Numbers up to it are finite in single precision."""
UNNAMED = r"(Unnamed: \d+(_level_\d+)?|__index_level_\d+__|)"
"""Names that pandas gives to columns of an index, in CSV and parquet files."""


@dataclass(frozen=True)
class Frame:
    """Rows of a file, as a pyarrow table."""

    path: Path
    table: Any
    csv: Delimited | None = None
    """The CSV file, as long as its columns have inferred types; None for other files and after `typed`."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Reason for the type of each column."""
    warnings: Mapping[str, Problem] = field(default_factory=dict)
    every: tuple[str, ...] = ()
    """Names of all columns of the file."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Reason for each column that is not used."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def names(self) -> list[str]:
        return list(self.table.column_names)

    def only(self, names: Sequence[str]) -> Frame:
        """Select columns by name, in the order of the file."""
        return replace(self, table=self.table.select([name for name in self.names if name in names]))

    def typed(
        self,
        notation: Notation,
        keep_zeros: Collection[str] = (),
        like: Mapping[str, ColumnType] | None = None,
        dates: Mapping[str, str | None] | None = None,
    ) -> Frame:
        """Give the columns of a CSV file the types of their texts; `like` has the types of an earlier file.

        A column in `keep_zeros` is text where it has dates, or a number with a leading zero. `dates` are columns of
        dates with their formats, None for ISO 8601; in files of other forms too, texts of theirs are parsed.

        Raises:
            DataError: a column is not UTF-8, or a text of a column of dates is none.
        """
        forms = dict(dates or {})
        sorts = dict(like or {}) | dict.fromkeys(forms, DATE)
        if self.csv is None:
            return self._dated(forms | {name: forms.get(name) for name, sort in sorts.items() if sort == DATE})
        table, why, warnings = self.table, dict(self.why), dict(self.warnings)
        known = {name: self.table.column(name) for name in self.names}
        again = {name for name in known if name in keep_zeros or forms.get(name)}
        known = {name: column for name, column in known.items() if name not in again or not temporal(column.type)}
        known = {name: column for name, column in known.items() if inferred(column, notation, sorts.get(name))}
        texts = self._texts(known)
        for place, name in enumerate(self.names):
            why[name] = ""
            if name not in texts:
                continue
            where = f"column `{name}` of {self.path}"
            _check_text(texts[name], name, where)
            sort, zeros = sorts.get(name), name in keep_zeros
            if sort == DATE and texts[name].null_count < len(self):
                found = Typed(required_dates(texts[name], forms.get(name), name, where))
            else:
                found = typed(texts[name], notation, name, where, zeros, sort, known.get(name))
            table = table.set_column(place, name, found.column)
            why[name] = found.why
            if found.warning is not None:
                warnings[name] = found.warning
        return replace(self, table=table, csv=None, why=why, warnings=warnings)

    def _dated(self, forms: Mapping[str, str | None]) -> Frame:
        """Parse columns of texts that hold dates."""
        from pyarrow import types

        table = self.table
        for place, name in enumerate(self.names):
            column = plain(table.column(name)) if name in forms else None
            if column is not None and (types.is_string(column.type) or types.is_large_string(column.type)):
                where = f"column `{name}` of {self.path}"
                table = table.set_column(place, name, required_dates(column, forms[name], name, where))
        return replace(self, table=table)

    def _texts(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Read columns of a CSV file as texts, but for those whose inferred types lost nothing."""
        assert self.csv is not None
        numbers = [name for name, column in known.items() if numeric(column.type)]
        doubtful = numbers if numbers and self.csv.padded else []
        there = {name: self.table.column(name) for name in self.names if name not in known}
        there = {name: column for name, column in there.items() if _as_written(column)}
        again = [name for name in self.names if name in doubtful or (name not in known and name not in there)]
        read = self.csv.texts(again, len(self)) if again else None
        return there | {name: read.column(name) for name in again if read is not None}

    def sorts(self) -> dict[str, ColumnType]:
        """Return which columns are numbers, which are texts, and which are dates."""
        from pyarrow import types

        kinds = {field.name: field.type for field in self.table.schema}
        texts: dict[str, ColumnType] = {name: "text" for name, kind in kinds.items() if types.is_string(kind)}
        texts |= {name: DATE for name, kind in kinds.items() if temporal(kind)}
        return texts | {name: "number" for name, kind in kinds.items() if numeric(kind)}

    @property
    def index(self) -> list[str]:
        """Names of columns that are pandas' index, or have no name."""
        try:
            described = json.loads((self.table.schema.metadata or {})[b"pandas"])["index_columns"]
        except (KeyError, TypeError, ValueError):
            described = []
        return [name for name in self.names if name in described or re.fullmatch(UNNAMED, name)]

    def check(self, names: Iterable[str], field: str) -> None:
        """Raise a DataError for a missing column."""
        for name in names:
            if name not in self.names:
                raise DataError(
                    f"{self.path} has no column `{name}`, which `{field}` names",
                    hint=did_you_mean(name, self.names, "the columns"),
                )

    def numbers(self, name: str, log: bool = False, most: int | None = None) -> Doubles:
        """Return a column as float64, with nan for missing values; with `most`, the first rows of it alone.

        Raises:
            DataError: values are infinite, or have no logarithm where `log` asks for it.
        """
        import pyarrow as pa

        where = f"column `{name}` of {self.path}"
        column = self.table.column(name)
        if most is not None:
            self.check_numbers(name, log)
            column = column.slice(0, most)
        try:
            column = column.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            kind = self.table.schema.field(name).type
            raise DataError(f"{where} holds {kind}, and numbers were trained on", hint=LIKE) from None
        values: Doubles = as_array(column, float("nan"))
        known = values[~np.isnan(values)]
        real_numbers(known, where)
        if log and len(known) and known.min() <= 0:
            raise DataError(
                f"{where} holds {known.min():g}, which has no logarithm", hint=f"Take `{name}` out of `log`."
            )
        return np.log(values) if log else values

    def check_numbers(self, name: str, log: bool = False) -> None:
        """Raise the DataError that `numbers` raises, by one scan where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.table.column(name)
        if not log and pa.types.is_integer(column.type):
            return
        if not log and pa.types.is_floating(column.type) and not pa.types.is_float16(column.type):
            squares = pc.sum(pc.multiply(column, column)).as_py()  # a fifth of the time of pc.min_max
            if squares is None or squares < LARGEST**2:
                return
        self.numbers(name, log)

    def categories(self, name: str) -> tuple[list[str | None], Labels]:
        """Return the different values of a column as texts, and the index of each row's value; -1 for none.

        A missing value is None; booleans are written as in YAML.
        """
        found = plain(self.table.column(name)).dictionary_encode().combine_chunks()
        values = found.dictionary.to_pylist()
        return [None if is_missing(value) else category_text(value) for value in values], as_array(found.indices, -1)


LIKE = "Give a table like the one of the training."


def read(
    path: Path,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    na_values: Sequence[str] = (),
) -> Frame:
    """Read all rows of a file; columns of a CSV file get their types in `typed`.

    `names`, `delimiter` and `na_values` apply to CSV files only.
    """
    check_file_size(existing(path, folder=False))
    csv = None if path.suffix in SUFFIXES else Delimited(path, names, delimiter, na_values)
    return framed(path, opened(path).table() if csv is None else csv.table(), csv)


def framed(path: Path, table: Any, csv: Delimited | None = None) -> Frame:
    """Wrap a pyarrow table of `path`. DataError where it has no rows, or two columns of one name."""
    table = _without_views(table) if csv is None else table
    if not table.num_rows:
        raise DataError(f"{path} holds no rows", hint="Give a file with examples in it.")
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if "" in twice:
        table = table.select([place for place, name in enumerate(table.column_names) if name])
        twice -= {""}
    if twice:
        raise DataError(f"{path} has two columns {listed(sorted(twice))}", hint="Give each column a name of its own.")
    return Frame(path, table, csv=csv, every=tuple(table.column_names))


def rows_of(
    path: Path,
    columns: Sequence[str],
    names: Sequence[str] | None = None,
    targets: Sequence[str] = (),
    delimiter: str | None = None,
    na_values: Sequence[str] = (),
) -> Frame:
    """Read columns of a file that comes after training and may lack the targets; all of them where `columns` is
    empty. DataError where a column is missing.
    """
    if names is not None and path.suffix != ".parquet":
        width = Delimited(path, delimiter=delimiter).width
        names = [name for name in names if name not in targets] if width < len(names) else names
    frame = read(path, names, delimiter, na_values)
    return chosen(frame, columns) if columns else frame


def chosen(frame: Frame, columns: Sequence[str]) -> Frame:
    """Select the columns that a network was trained on. DataError where one is missing."""
    if lacking := [name for name in columns if name not in frame.names]:
        hint = did_you_mean(lacking[0], frame.names, "the columns")
        raise DataError(f"{frame.path} has no column {listed(lacking)}, which the network was trained on", hint=hint)
    return frame.only(columns)


def _check_text(column: Any, name: str, where: str) -> None:
    from pyarrow import ArrowInvalid

    try:
        column.validate(full=True)
    except ArrowInvalid:
        way_out = f"Save the file as UTF-8, or leave the column out: `drop: [{name}]`."
        raise DataError(f"{where} is not UTF-8", hint=way_out) from None


def _without_views(table: Any) -> Any:
    """Convert string views to strings: pyarrow cannot take rows of views, and reads their nulls as empty strings."""
    import pyarrow as pa
    from pyarrow import types

    schema = table.schema
    for place, one in enumerate(table.schema):
        kind = one.type.value_type if types.is_dictionary(one.type) else one.type
        if types.is_string_view(kind):
            schema = schema.set(place, one.with_type(pa.large_string()))
    return table if schema == table.schema else table.cast(schema)


def plain(column: Any) -> Any:
    """Decode a dictionary column, whose chunks may have different dictionaries."""
    from pyarrow import types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _as_written(column: Any) -> bool:
    """Whether a column of a CSV file was inferred to be text, or empty."""
    from pyarrow import types

    return bool(types.is_string(column.type) or types.is_null(column.type))


def category_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
