"""The columns of a table, read by pyarrow, and how each becomes inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError, did_you_mean
from ..lazy import np
from .reading import existing, listed, real, small_enough
from .rows import SUFFIXES, opened

if TYPE_CHECKING:
    from .base import Floats, Labels
    from .preprocess import Doubles

LACKING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "?"]
"""What stands in a CSV file for a value that is missing."""


@dataclass(frozen=True)
class Frame:
    """Rows of a file; `table` is pyarrow's."""

    path: Path
    table: Any

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def names(self) -> list[str]:
        return list(self.table.column_names)

    def only(self, names: Sequence[str]) -> Frame:
        """The columns of these names, in the order of the file."""
        return Frame(self.path, self.table.select([name for name in self.names if name in names]))

    def check(self, names: Iterable[str], field: str) -> None:
        """DataError where a column is not there."""
        for name in names:
            if name not in self.names:
                raise DataError(
                    f"{self.path} has no column `{name}`, which `{field}` names",
                    hint=did_you_mean(name, self.names, "the columns"),
                )

    def numbers(self, name: str, log: bool = False) -> Doubles:
        """A column in double precision, nan where a value is missing.

        DataError for values that are infinite, or have no logarithm.
        """
        import pyarrow as pa

        values: Doubles = self.table.column(name).cast(pa.float64()).to_numpy()
        where = f"column `{name}` of {self.path}"
        known = values[~np.isnan(values)]
        real(known, where)
        if log and len(known) and known.min() <= 0:
            raise DataError(
                f"{where} holds {known.min():g}, which has no logarithm", hint=f"Take `{name}` out of `log`."
            )
        return np.log(values) if log else values

    def words(self, name: str) -> list[str | None]:
        """A column as texts, None where one is missing; true and false as YAML writes them."""
        return [None if _lacks(value) else _word(value) for value in self.table.column(name).to_pylist()]


@dataclass(frozen=True)
class Column:
    """How a column becomes inputs. `texts` are those of a category, sorted, or in the order that was given.

    Where it lacks values, they are to be `filled`, they have an input of their own (`marked`), or both.
    """

    name: str
    sort: Literal["number", "boolean", "category", "ordinal"]
    texts: tuple[str, ...] = ()
    log: bool = False
    filled: bool = False
    marked: bool = False

    @property
    def values(self) -> int:
        """Inputs that its values become."""
        return len(self.texts) if self.sort == "category" else 1

    @property
    def width(self) -> int:
        """Inputs that it becomes."""
        return self.values + self.marked

    @property
    def told(self) -> str:
        return {"number": "numbers", "boolean": "true and false"}.get(self.sort, "texts")


def read(path: Path, names: Sequence[str] | None = None, delimiter: str | None = None) -> Frame:
    """All rows of a file. `names` and `delimiter` are for CSV."""
    small_enough(existing(path, folder=False))
    if path.suffix in SUFFIXES:
        table = opened(path).table()
    else:
        table = _csv(path, names, delimiter or ("\t" if ".tsv" in path.suffixes else ","))
    if not table.num_rows:
        raise DataError(f"{path} holds no rows", hint="Give a file with examples in it.")
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"{path} has two columns {listed(sorted(twice))}", hint="Give each column a name of its own.")
    return Frame(path, table)


def rows_of(
    path: Path,
    columns: Sequence[str],
    names: Sequence[str] | None = None,
    targets: Sequence[str] = (),
    delimiter: str | None = None,
) -> Frame:
    """The rows of a file that comes after training and may lack the targets. DataError where a column is missing."""
    if names is not None and path.suffix != ".parquet":
        width = _width(path, delimiter)
        names = [name for name in names if name not in targets] if width < len(names) else names
    frame = read(path, names, delimiter)
    if lacking := [name for name in columns if name not in frame.names]:
        hint = did_you_mean(lacking[0], frame.names, "the columns")
        raise DataError(f"{path} has no column {listed(lacking)}, which the network was trained on", hint=hint)
    return frame.only(columns)


def _width(path: Path, delimiter: str | None) -> int:
    """The columns of a CSV file, by its first line."""
    with existing(path, folder=False).open(errors="replace") as file:
        return file.readline().count(delimiter or ("\t" if ".tsv" in path.suffixes else ",")) + 1


def _csv(path: Path, names: Sequence[str] | None, delimiter: str) -> Any:
    from pyarrow import ArrowException, csv

    try:
        return csv.read_csv(
            path,
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(delimiter=delimiter),
            csv.ConvertOptions(null_values=LACKING, strings_can_be_null=True, true_values=TRUE, false_values=FALSE),
        )
    except (ArrowException, OSError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "`names` gives the columns of a file without a first line, `delimiter` what stands between values."
        raise DataError(f"{path} cannot be read as CSV: {told}", hint=hint) from None


TRUE, FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


def surveyed(frame: Frame, name: str, categorical: bool, log: bool, most: int | None) -> Column:
    """How a column is to be encoded; `most` texts at most. DataError where it cannot be."""
    from pyarrow import types

    kind = frame.table.schema.field(name).type
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if types.is_dictionary(kind):
        kind = kind.value_type
    if numeric and not categorical:
        return Column(name, "number", log=log)
    where = f"column `{name}` of {frame.path}"
    if log:
        raise DataError(f"{where} holds {kind}, which has no logarithm", hint=f"Take `{name}` out of `log`.")
    if types.is_boolean(kind) and not categorical:
        return Column(name, "boolean", ("false", "true"))
    if not (numeric or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise DataError(
            f"{where} holds {kind}, and inputs are made of numbers, true and false, and texts",
            hint=f"`drop: [{name}]` leaves it out.",
        )
    there = {value for value in frame.table.column(name).to_pylist() if not _lacks(value)}
    texts = tuple(dict.fromkeys(map(_word, sorted(there))))
    if most is not None and len(texts) > most:
        raise DataError(
            f"{where} has {len(texts):,} different values in {len(frame):,} rows: one-hot, as many inputs",
            hint=f"`drop: [{name}]` leaves it out; `max_categories: {len(texts)}` takes it all the same.",
        )
    return Column(name, "category", texts)


def ordered(frame: Frame, name: str, texts: Sequence[str]) -> Column:
    """A column of texts that have an order, from the lowest up."""
    column = Column(name, "ordinal", tuple(texts))
    coded(frame, column, "`ordinal` does not list")
    return column


def encoded(frame: Frame, columns: Sequence[Column], false_is: int) -> Floats:
    """All inputs (rows, values), column after column; nan where a value is missing and is to be filled in."""
    x = np.zeros((len(frame), sum(column.width for column in columns)), np.float32)
    place = 0
    for column in columns:
        if column.sort == "number":
            x[:, place] = frame.numbers(column.name, column.log)
            lacking = np.isnan(x[:, place])
        else:
            codes = coded(frame, column)
            lacking = codes < 0
            if column.sort == "boolean":
                x[:, place] = np.where(codes, 1, false_is)
            elif column.sort == "ordinal":
                x[:, place] = codes
            else:
                x[~lacking, place + codes[~lacking]] = 1
        if column.filled:
            x[lacking, place : place + column.values] = np.nan
        if column.marked:
            x[lacking, place + column.values] = 1
        place += column.width
    return x


def coded(frame: Frame, column: Column, lists: str = "the training file does not have") -> Labels:
    """The number of each row's text, -1 where there is none. DataError where the column was surveyed without it."""
    number = {text: i for i, text in enumerate(column.texts)}
    words = frame.words(column.name)
    if strange := sorted({word for word in words if word is not None} - set(number)):
        raise DataError(
            f"column `{column.name}` of {frame.path} holds {listed(strange)}, which {lists}",
            hint=did_you_mean(strange[0], column.texts),
        )
    return np.array([-1 if word is None else number[word] for word in words], np.int64)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lacks(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
