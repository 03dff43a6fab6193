"""The columns of a table, read by pyarrow, and how each becomes inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError, did_you_mean
from ..lazy import np
from .reading import existing, listed, real, small_enough
from .shelves import parquet_file

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

    def whole(self, missing: str) -> Frame:
        """The rows that lack nothing. DataError where there are others, and `missing` is "refuse"."""
        import pyarrow as pa

        gaps = {name: np.asarray(_gaps(self.table.column(name)), bool) for name in self.names}
        lacking = np.any(np.stack(list(gaps.values())), axis=0) if gaps else np.zeros(len(self), bool)
        counts = {name: int(gap.sum()) for name, gap in gaps.items() if gap.any()}
        if not counts:
            return self
        kept = len(self) - int(lacking.sum())
        if missing == "refuse" or not kept:
            told = " and ".join(f"`{name}` {count:,}" for name, count in list(counts.items())[:5])
            rows = f"`missing: drop` leaves {kept:,} rows" if kept else "no row is whole"
            raise DataError(
                f"values are missing in {self.path}, of {len(self):,} rows: {told}",
                hint=f"`drop: [NAME]` leaves out a column; {rows}.",
            )
        return Frame(self.path, self.table.filter(pa.array(~lacking)))

    def numbers(self, name: str, log: bool = False) -> Doubles:
        """A column in double precision. DataError where it is infinite, or has no logarithm."""
        import pyarrow as pa

        values: Doubles = self.table.column(name).cast(pa.float64()).to_numpy()
        where = f"column `{name}` of {self.path}"
        real(values, where)
        if log and values.min() <= 0:
            raise DataError(
                f"{where} holds {values.min():g}, which has no logarithm", hint=f"Take `{name}` out of `log`."
            )
        return np.log(values) if log else values

    def words(self, name: str) -> list[str]:
        """A column as texts; true and false as YAML writes them."""
        return [_word(value) for value in self.table.column(name).to_pylist()]


@dataclass(frozen=True)
class Column:
    """How a column becomes inputs. `texts` are those of a category, sorted."""

    name: str
    sort: Literal["number", "boolean", "category"]
    texts: tuple[str, ...] = ()
    log: bool = False

    @property
    def width(self) -> int:
        """Inputs that it becomes."""
        return len(self.texts) if self.sort == "category" else 1

    @property
    def told(self) -> str:
        return {"number": "numbers", "boolean": "true and false", "category": "texts"}[self.sort]


def read(path: Path, names: Sequence[str] | None = None, delimiter: str | None = None) -> Frame:
    """All rows of a file. `names` and `delimiter` are for CSV."""
    small_enough(existing(path, folder=False))
    if path.suffix == ".parquet":
        table = parquet_file(path).read()
    else:
        table = _csv(path, names, delimiter or ("\t" if ".tsv" in path.suffixes else ","))
    if not table.num_rows:
        raise DataError(f"{path} holds no rows", hint="Give a file with examples in it.")
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"{path} has two columns {listed(sorted(twice))}", hint="Give each column a name of its own.")
    return Frame(path, table)


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
    texts = tuple(dict.fromkeys(map(_word, sorted(set(frame.table.column(name).to_pylist())))))
    if most is not None and len(texts) > most:
        raise DataError(
            f"{where} has {len(texts):,} different values in {len(frame):,} rows: one-hot, as many inputs",
            hint=f"`drop: [{name}]` leaves it out; `max_categories: {len(texts)}` takes it all the same.",
        )
    return Column(name, "category", texts)


def encoded(frame: Frame, columns: Sequence[Column], false_is: int) -> Floats:
    """All inputs (rows, values), column after column."""
    x = np.zeros((len(frame), sum(column.width for column in columns)), np.float32)
    place = 0
    for column in columns:
        if column.sort == "number":
            x[:, place] = frame.numbers(column.name, column.log)
        else:
            codes = coded(frame, column)
            if column.sort == "boolean":
                x[:, place] = np.where(codes, 1, false_is)
            else:
                x[np.arange(len(frame)), place + codes] = 1
        place += column.width
    return x


def coded(frame: Frame, column: Column) -> Labels:
    """The number of each row's text. DataError where the column was surveyed without it."""
    number = {text: i for i, text in enumerate(column.texts)}
    words = frame.words(column.name)
    if strange := sorted(set(words) - set(number)):
        raise DataError(
            f"column `{column.name}` of {frame.path} holds {listed(strange)}, which the training file does not have",
            hint=did_you_mean(strange[0], column.texts, "it"),
        )
    return np.array([number[word] for word in words], np.int64)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _gaps(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.is_null(column, nan_is_null=True).to_numpy()
