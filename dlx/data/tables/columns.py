"""The encoding of the columns of a table as inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

from ...errors import DataError, did_you_mean, listed
from ...lazy import np
from .bags import Bag
from .cells import NUMBER, PADDED, ColumnType, numeric
from .date_parts import DateEncoding
from .dates import temporal
from .frame import DATE, Frame, category_text, is_missing, plain
from .target_means import Means

if TYPE_CHECKING:
    from ..base import Labels


@dataclass(frozen=True)
class Column:
    """Encoding of a column as inputs.

    Attributes:
        name: name of the column.
        sort: type of the values.
        texts: categories, sorted or in the given order; of texts, the words.
        log: whether the logarithm is taken.
        filled: whether missing values are imputed.
        marked: whether missing values have an input of their own.
        date: parts of dates.
        means: of targets, by category.
        bag: how words are found in texts.
    """

    name: str
    sort: Literal["number", "boolean", "category", "ordinal", "date", "target", "text"]
    texts: tuple[str, ...] = ()
    log: bool = False
    filled: bool = False
    marked: bool = False
    date: DateEncoding | None = None
    means: Means | None = None
    bag: Bag | None = None

    @property
    def values(self) -> int:
        """Number of inputs for the values."""
        if self.date is not None:
            return sum(self.date.widths)
        if self.means is not None:
            return self.means.width
        return len(self.texts) if self.sort in ("category", "text") else 1

    @property
    def numbers(self) -> list[int]:
        """Places of the inputs that are numbers, which `standardize` moves, from 0 on."""
        if self.date is not None:
            return self.date.numbers
        return list(range(self.values)) if self.sort in ("number", "target") else []

    @property
    def takes_missing(self) -> bool:
        """Whether later inputs may lack values of this column."""
        return self.filled or self.marked or (self.means is not None and bool(self.means.missing))

    @property
    def width(self) -> int:
        """Number of inputs."""
        return self.values + self.marked

    @property
    def stored(self) -> ColumnType | None:
        """Type of the column in a file; None for booleans."""
        if self.sort in ("number", "date"):
            return "number" if self.sort == "number" else DATE
        return "text" if self.texts != ("false", "true") else None

    @property
    def contents(self) -> str:
        return {"number": "numbers", "boolean": "true and false", "date": "dates"}.get(self.sort, "texts")


def saved_columns(reading: Mapping[str, Any]) -> list[Column]:
    """Return the columns that a run's record describes."""
    return [_saved_column(saved) for saved in reading["columns"]]


def _saved_column(saved: Mapping[str, Any]) -> Column:
    kinds: dict[str, type[DateEncoding | Means | Bag]] = {"date": DateEncoding, "means": Means, "bag": Bag}
    made = {name: cls(**_tuples(saved[name])) for name, cls in kinds.items() if saved.get(name) is not None}
    return Column(**_tuples(saved) | made)


def _tuples(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they were before JSON made lists of tuples."""
    rows = {
        name: [tuple(v) if isinstance(v, list) else v for v in value]
        for name, value in saved.items()
        if isinstance(value, list)
    }
    return dict(saved) | {name: tuple(value) for name, value in rows.items()}


def survey(frame: Frame, name: str, categorical: bool, log: bool, most: int | None) -> Column:
    """Return the encoding of a column.

    Raises:
        DataError: the type cannot be encoded, or there are more than `most` categories.
    """
    from pyarrow import types

    kind = frame.table.schema.field(name).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if numeric(kind) and not categorical:
        return Column(name, "number", log=log)
    where = f"column `{name}` of {frame.path}"
    if log:
        raise DataError(f"{where} holds {kind}, which has no logarithm", hint=f"Take `{name}` out of `log`.")
    if temporal(kind) and not categorical:
        return Column(name, "date")
    if types.is_boolean(kind) and not categorical:
        return Column(name, "boolean", ("false", "true"))
    if not (numeric(kind) or types.is_boolean(kind) or _is_text(kind)):
        raise DataError(
            f"{where} holds {kind}, and inputs are made of numbers, true and false, dates, and texts",
            hint=f"`drop: [{name}]` leaves it out.",
        )
    there = {value for value in plain(frame.table.column(name)).unique().to_pylist() if not is_missing(value)}
    texts = tuple(dict.fromkeys(map(category_text, sorted(there, key=_place(there)))))
    if most is not None and len(texts) > most:
        about = frame.warnings.get(name)
        raise DataError(
            f"{where} has {len(texts):,} different values in {len(frame):,} rows: one-hot, as many inputs",
            hint=f"`drop: [{name}]` leaves it out; `max_categories: {len(texts)}` takes it all the same."
            + (f" {about.hint}" if about is not None else ""),
        )
    return Column(name, "category", texts)


def yes_or_no(column: Column) -> Column:
    """Return a column of two texts such as yes and no as a boolean; any other as it is."""
    pair = {text.lower(): text for text in column.texts}
    for categories in (("no", "yes"), ("n", "y"), ("f", "t")):
        if column.sort == "category" and len(column.texts) == 2 and set(pair) == set(categories):
            return replace(column, sort="boolean", texts=tuple(pair[word] for word in categories))
    return column


def ordered(frame: Frame, name: str, texts: Sequence[str]) -> Column:
    """Return the encoding of a column whose texts have an order, from the lowest up."""
    column = Column(name, "ordinal", tuple(texts))
    category_codes(frame, column, "`ordinal` does not list")
    return column


def column_codes(frame: Frame, column: Column) -> Labels:
    """Return the category number of each row; -1 for a missing value. DataError for an unknown category.

    Of a column whose categories become means, len(texts) is a missing value, and -1 an unknown category.
    """
    if column.means is None:
        return category_codes(frame, column)
    number = {text: i for i, text in enumerate(column.texts)}
    words, places = frame.categories(column.name)
    codes = [len(column.texts) if word is None else number.get(word, number.get(_same(word), -1)) for word in words]
    return np.array([*codes, len(column.texts)], np.int64)[places]


def category_codes(frame: Frame, column: Column, lists: str = "the training file does not have") -> Labels:
    """Return the category number of each row; -1 for a missing value. DataError for an unknown category."""
    number = {text: i for i, text in enumerate(column.texts)}
    categories, places = frame.categories(column.name)
    found = {word for word in categories if word is not None}
    number |= {word: number[same] for word in found - set(number) if (same := _same(word)) in number}
    if strange := sorted(found - set(number)):
        raise DataError(
            f"column `{column.name}` of {frame.path} holds {listed(strange)}, which {lists}",
            hint=did_you_mean(strange[0], column.texts),
        )
    return np.array([*(-1 if word is None else number[word] for word in categories), -1], np.int64)[places]


def _same(word: str) -> str:
    """Normalise the text of a number: `1` for ` 1` and for `+1`."""
    plain = word.strip()
    if not re.fullmatch(NUMBER, plain, re.ASCII) or re.fullmatch(PADDED, plain):
        return plain
    return str(int(plain)) if re.fullmatch(r"[+-]?\d{1,18}", plain) else str(float(plain))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _place(values: Collection[Any]) -> Callable[[Any], Any] | None:
    """Return the sort key: by value for numbers with leading zeros, with nan last; None for the natural order."""
    if not any(isinstance(value, str) and re.fullmatch(PADDED, value) for value in values):
        return None
    if not all(re.fullmatch(NUMBER, value, re.ASCII) for value in values):
        return None
    return lambda text: (isnan(float(text)), 0 if isnan(float(text)) else float(text), text)
