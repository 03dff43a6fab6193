"""Types of the columns of a CSV file: a column has the type that all its texts fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import Problem, listed
from ...lazy import np
from .dates import iso_dates, mostly_iso, required_dates, shaped_like_dates, temporal

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "?"]
"""Texts that stand for a missing value in every column."""
MISSING_NUMBERS = ["n/a", "#N/A", "#N/A N/A", "#NA", "None", "<NA>", "-nan", "-NaN", "1.#IND", "-1.#IND"]
MISSING_NUMBERS += ["1.#QNAN", "-1.#QNAN"]
"""Texts that stand for a missing value in a column of numbers only. Together with `MISSING` they are those of
pandas."""
MARKS = "|".join(map(re.escape, MISSING_NUMBERS))
TRUE, FALSE = "true|True|TRUE", "false|False|FALSE"
NUMBER = r"([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN]))"
PADDED = r"[+-]?0\d.*"
"""Numbers with a leading zero, as codes have."""
SHAPED = re.compile(r"[+-]?[$€£¥]? ?\d[\d., ]*[$€£¥%]?", re.ASCII)
"""Texts that a person would read as numbers."""
SEPARATED = {
    '`thousands: ","`': r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?",
    '`decimal: ","`': r"[+-]?\d+,\d+",
    '`thousands: "."` and `decimal: ","`': r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?",
    '`thousands: " "`': r"[+-]?\d{1,3}( \d{3})+(\.\d+)?",
}
"""Notations of numbers, by the fields that read them."""
MOSTLY = 0.5
"""Fraction of the texts of a column that look like numbers, above which a warning is given."""
LOOKED_AT = 10_000
"""Number of texts of a column that are examined for that."""

ColumnType = Literal["number", "text", "date"]


@dataclass(frozen=True)
class Notation:
    """Notation of numbers and missing values, with pandas' names."""

    thousands: str | None = None
    decimal: str = "."
    na_values: tuple[str, ...] = ()

    @property
    def plain_figures(self) -> bool:
        return self.thousands is None and self.decimal == "."

    @property
    def number(self) -> str:
        """Regular expression of a number."""
        if self.plain_figures:
            return NUMBER
        mark, group = re.escape(self.decimal), re.escape(self.thousands or "")
        whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)" if group else r"\d+"
        return rf"[+-]?({whole}({mark}\d*)?|{mark}\d+)([eE][+-]?\d+)?"

    def plain(self, texts: Any) -> Any:
        """Rewrite numbers without separators, with a decimal point."""
        import pyarrow.compute as pc

        if self.thousands is not None:
            texts = pc.replace_substring(texts, self.thousands, "")
        return texts if self.decimal == "." else pc.replace_substring(texts, self.decimal, ".")


@dataclass(frozen=True)
class Typed:
    """A column with its type, the reason for the type, and a warning where one is due."""

    column: Any
    why: str = ""
    warning: Problem | None = None


def numeric(kind: Any) -> bool:
    """Whether a pyarrow type is numeric."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def inferred(column: Any, notation: Notation, sort: ColumnType | None) -> bool:
    """Whether the type that pyarrow inferred for a column can be used, but for numbers with leading zeros."""
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_boolean(column.type):
        return sort is None
    if temporal(column.type):
        return sort in (None, "date")
    if not numeric(column.type) or not notation.plain_figures or sort in ("text", "date"):
        return False
    return bool(pc.all(pc.is_finite(column)).as_py())  # what else there is may stand for missing


def as_array(column: Any, lacking: float) -> Any:
    """Convert a numeric column to a NumPy array, with `lacking` for missing values.

    pyarrow's own `to_numpy` imports pandas.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.from_dlpack(pc.fill_null(whole, lacking) if whole.null_count else whole)


def typed(
    column: Any,
    notation: Notation,
    name: str,
    where: str,
    keep_zeros: bool,
    sort: ColumnType | None = None,
    known: Any = None,
) -> Typed:
    """Return a column of texts with the type that all of them fit.

    Arguments:
        column: the texts.
        notation: notation of numbers and missing values.
        name: name of the column.
        where: name of the column and its file in messages.
        keep_zeros: whether dates and numbers with a leading zero are texts; else only numbers where two texts are
            the same number.
        sort: the type in an earlier file, which decides.
        known: the column as numbers, where pyarrow inferred them.
    """
    import pyarrow as pa

    if column.null_count == len(column):
        kind = {None: pa.null(), "number": pa.float64(), "text": pa.string(), "date": pa.timestamp("us")}[sort]
        return Typed(pa.chunked_array([pa.nulls(len(column), kind)]), "no values")
    if sort == "text":
        return Typed(column)
    if known is not None and sort is None and not keep_zeros and not _any(column, r"^\s*[+-]?0[\dxX]"):
        return Typed(known)
    return _typed(column, notation, name, where, keep_zeros, sort == "number")


def _typed(column: Any, notation: Notation, name: str, where: str, keep_zeros: bool, of_numbers: bool) -> Typed:
    import pyarrow.compute as pc

    there = pc.unique(pc.utf8_trim_whitespace(pc.unique(column))).drop_null()
    known = there.filter(pc.invert(_match(there, MARKS)))
    marked = set(there.filter(_match(there, MARKS)).to_pylist()) if len(known) < len(there) else set()
    marks = [text for text in MISSING_NUMBERS if text in marked]
    if len(known) and _all(known, notation.number):
        if not of_numbers and (codes := _codes(known, notation, keep_zeros)):
            why = f"numbers with leading zeros, such as `{codes[0]}`"
            return Typed(column, why, None if keep_zeros else _of_codes(codes, where))
        return Typed(_numbers(notation.plain(_without(column, marks))), _missing_note(marks))
    if of_numbers:
        return Typed(column)
    if len(known) and _all(known, f"{TRUE}|{FALSE}"):
        return Typed(pc.match_substring_regex(_without(column, marks), f"^({TRUE})$"), _missing_note(marks))
    return Typed(column) if keep_zeros else _dates_or_texts(column, known, there, notation, name, where)


def _dates_or_texts(column: Any, known: Any, there: Any, notation: Notation, name: str, where: str) -> Typed:
    if (moments := iso_dates(column, known)) is not None:
        return Typed(moments)
    if mostly_iso(known):
        return Typed(required_dates(column, None, name, where, ", and most of its texts are"))
    texts = there.slice(0, LOOKED_AT).to_pylist()
    about = shaped_like_dates(texts, name, where) or shaped_like_numbers(texts, where, notation)
    return Typed(column, "", about)


def shaped_like_numbers(texts: Sequence[str], where: str, notation: Notation | None = None) -> Problem | None:
    """Return a warning where most texts of a column look like numbers; else None."""
    texts = texts[:LOOKED_AT]
    number = re.compile((notation or Notation()).number, re.ASCII)
    others = [text for text in texts if not number.fullmatch(text)]
    odd = [text for text in others if not SHAPED.fullmatch(text)]
    shaped = [text for text in others if SHAPED.fullmatch(text)]
    if len(texts) < 2 or len(odd) > (1 - MOSTLY) * len(texts):
        return None
    message = f"{where} is read as {len(texts):,} different texts, and most of them are shaped like numbers"
    if notation is None:
        return Problem(message, "Write the file with a column of numbers.")
    if odd:
        quoted = ", ".join(f'"{text}"' for text in odd[:3])
        hint = f"`na_values: [{quoted}]` takes them for missing values; `categorical` says that texts are meant."
        return Problem(f"{message}; not {listed(sorted(odd))}", hint)
    if not shaped:
        return None
    message = f"{message}, such as `{shaped[0]}`"
    for fields, way in SEPARATED.items():
        if all(re.fullmatch(way, text) for text in shaped):
            return Problem(message, f"{fields} reads them as numbers; `categorical` says that texts are meant.")
    return Problem(message, "Take the signs out of the file; `categorical` says that texts are meant.")


def _any(texts: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _match(texts: Any, pattern: str) -> Any:
    import pyarrow.compute as pc

    return pc.match_substring_regex(texts, f"^({pattern})$")


def _all(texts: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(_match(texts, pattern)).as_py())


def _without(column: Any, marks: Collection[str]) -> Any:
    """Strip the texts of a column, and replace some by nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(column, pa.array(list(marks), pa.string())), None, column) if marks else column


def _missing_note(marks: Sequence[str]) -> str:
    return f"{listed(marks)} stands for missing" if marks else ""


def _numbers(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        return pc.cast(column, pa.float64())


def _codes(known: Any, notation: Notation, keep_zeros: bool) -> tuple[str, ...]:
    """Return texts that are equal as numbers because of leading zeros; with `keep_zeros`, any with a leading zero."""
    import pyarrow.compute as pc

    padded = known.filter(_match(known, PADDED))
    if keep_zeros or not len(padded):
        return tuple(padded.slice(0, 2).to_pylist())
    values = pc.add(_numbers(notation.plain(known)), 0)  # -0.0 is 0.0
    if pc.count_distinct(values).as_py() == len(known):
        return ()
    first: dict[float, str] = {}
    for text, value in zip(known.to_pylist(), values.to_pylist(), strict=True):
        other = first.setdefault(value, text)
        if other != text and (codes := [one for one in (text, other) if re.fullmatch(PADDED, one)]):
            return tuple(dict.fromkeys([*codes, other, text]))
    return ()


def _of_codes(codes: tuple[str, ...], where: str) -> Problem:
    message = f"{where} is read as texts: {listed(codes)} differ, and are one number"
    return Problem(message, "Write each number in one way, if numbers are meant; `categorical` says that texts are.")
