"""Missing values of a table: a method for each column, fitted to the training part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ...errors import DataError
from ...lazy import np
from ..preprocess.fill import Fill
from .cells import as_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Floats
    from ..preprocess.base import Statistics
    from .columns import Column
    from .frame import Frame

    Mask = npt.NDArray[np.bool_]

Method = Literal["refuse", "drop", "mean", "median", "most_frequent", "indicator", "category"]
REST = "*"
"""Stands for the columns that are not named."""


Constant = Annotated[dict[Literal["constant"], float | bool | str], Field(min_length=1)]
"""A constant that replaces missing values: a number, a boolean or a text, as the column holds."""
Rule = Method | Constant
Rules = Method | dict[str, Rule]
SORTS = {"mean": "number", "median": "number", "indicator": "number", "category": "category"}
"""Types of columns that a method applies to; booleans count as numbers."""


class FillColumns(Fill):
    """The step `fill` for a table, with a method for each column."""

    columns: list[tuple[str, int, int, Rule]] = Field(description="name, first input, inputs and way of each column")
    constants: list[tuple[int, float]] = Field([], description="inputs that are given, and their values")

    def fit(self, x: Floats) -> Statistics:
        value = np.zeros(x.shape[1], np.float64)
        for name, start, width, rule in self.columns:
            seen = x[:, start : start + width].astype(np.float64)
            seen = seen[~np.isnan(seen).any(1)]
            if isinstance(rule, dict):
                continue
            if not len(seen):
                raise DataError(
                    f"column `{name}` has no value in the training part, and `missing: {rule}` takes it from there",
                    hint=f"Give a constant: `missing: {{{name}: {{constant: 0}}}}`.",
                )
            value[start : start + width] = _typical(seen, rule)
        for place, constant in self.constants:
            value[place] = constant
        return {"value": value}


def _typical(seen: npt.NDArray[np.float64], rule: str) -> Any:
    """Return the value that replaces missing rows of a column (n, width); the smallest of equally frequent ones."""
    if rule == "median":
        return np.median(seen, 0)
    if rule == "most_frequent":
        rows, counts = np.unique(seen, axis=0, return_counts=True)
        return rows[::-1][counts[::-1].argmax()] if seen.shape[1] > 1 else rows[counts.argmax()]
    return seen.mean(0)


def rule_of(rules: Rules, name: str) -> Rule:
    """Return the method for missing values of a column."""
    return rules if isinstance(rules, str) else rules.get(name, rules.get(REST, "refuse"))


def missing(frame: Frame) -> dict[str, Mask]:
    """Return the mask of missing values for each column that has some."""
    import pyarrow.compute as pc

    found = {name: pc.is_null(frame.table.column(name), nan_is_null=True) for name in frame.names}
    return {
        name: as_array(mask.cast("uint8"), 0).astype(bool) for name, mask in found.items() if pc.any(mask).as_py()
    }


def drop_incomplete(frame: Frame, rules: Mapping[str, Rule], targets: Sequence[str] = ()) -> Frame:
    """Drop rows with missing values in the columns whose rule is "drop"; those of `targets` are never filled in.

    Raises:
        DataError: a column with missing values has the rule "refuse", or no row is left.
    """
    import pyarrow as pa

    incomplete = missing(frame)
    refused = {name: mask for name, mask in incomplete.items() if rules[name] == "refuse"}
    dropping = [mask for name, mask in incomplete.items() if rules[name] == "drop"]
    out = np.any(np.stack(dropping), 0) if dropping else np.zeros(len(frame), bool)
    if refused or out.all():
        raise _missing(frame, refused or incomplete, targets, whole=not refused)
    return replace(frame, table=frame.table.filter(pa.array(~out))) if dropping else frame


def _missing(frame: Frame, found: Mapping[str, Mask], targets: Sequence[str], whole: bool) -> DataError:
    row, name = min((int(mask.argmax()), name) for name, mask in found.items())
    counts = " and ".join(f"`{name}` {int(mask.sum()):,}" for name, mask in list(found.items())[:5])
    way = (
        f"{name}: drop}}` leaves out its rows"
        if name in targets
        else f"{name}: {_way_to_fill(frame, name)}}}` fills them in"
    )
    complete = len(frame) - int(np.any(np.stack(list(found.values())), 0).sum())
    rows = f"`missing: drop` leaves {complete:,} rows" if complete else "no row is whole"
    return DataError(
        f"values are missing in {frame.path}, first in row {row + 1:,} of column `{name}`; of {len(frame):,} rows: "
        f"{counts}",
        hint=f"`drop: [NAME]` leaves out a column; {rows}" + ("." if whole else f"; `missing: {{{way}."),
    )


def _way_to_fill(frame: Frame, name: str) -> str:
    """Return the method for missing values that suits the type of a column."""
    from pyarrow import types

    kind = frame.table.schema.field(name).type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return "median" if is_number else "most_frequent"


def check_rules(rules: Rules, names: Iterable[str], targets: Sequence[str], where: str) -> None:
    """Raise a DataError for a rule of a column that is not used, or that would impute a target."""
    if isinstance(rules, str):
        return
    known = [*names, *targets, REST]
    for name, rule in rules.items():
        if name not in known:
            raise DataError(f"`missing` names `{name}`, which is none of the columns of {where}")
        if name in targets and rule not in ("refuse", "drop"):
            raise DataError(
                f"`missing` fills in `{name}` of {where}, which is what is told", hint=f"Write `{name}: drop`."
            )


ENCODED = {"text": "a bag of words", "target": "means of targets"}


def _written(rule: Rule) -> str:
    return rule if isinstance(rule, str) else f"{{constant: {rule['constant']}}}"


def check_sort(column: Column, rule: Rule, where: str) -> None:
    """Raise a DataError where a method does not apply to the type of a column."""
    if column.sort in ("text", "target"):
        if rule in ("refuse", "category"):
            return
        becomes = f"and column `{column.name}` of {where} becomes {ENCODED[column.sort]}"
        raise DataError(
            f"`missing: {_written(rule)}` fills in values, {becomes}",
            hint=f"Give it a way of its own: `missing: {{{column.name}: category}}`, or `drop` for its rows.",
        )
    wanted = SORTS.get(rule) if isinstance(rule, str) else None
    sort = "category" if column.sort == "category" else "number"
    if wanted is not None and wanted != sort:
        instead = "category" if sort == "category" and rule == "indicator" else "indicator"
        instead = "most_frequent" if rule in ("mean", "median") else instead
        raise DataError(
            f"`missing: {rule}` is for {'texts' if wanted == 'category' else 'numbers'}, and column `{column.name}` "
            f"of {where} holds {column.contents} and lacks some",
            hint=f"Give it a way of its own: `missing: {{{column.name}: {instead}}}`.",
        )


def fill_step(columns: Sequence[Column], rules: Mapping[str, Rule], false_is: int, where: str) -> FillColumns | None:
    """Return the step that imputes missing values; None where no column has any."""
    found: list[tuple[str, int, int, Rule]] = []
    constants: list[tuple[int, float]] = []
    place = 0
    for column in columns:
        if column.filled:
            rule = rules[column.name]
            found.append((column.name, place, column.values, rule))
            if isinstance(rule, dict):
                constants.append(_constant(column, rule["constant"], place, false_is, where))
        place += column.width
    return FillColumns(columns=found, constants=constants) if found else None


def _constant(column: Column, value: float | bool | str, place: int, false_is: int, where: str) -> tuple[int, float]:
    """Return the input that is set where a constant replaces a missing value, and its value."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if column.sort == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return place, float(np.log(value)) if column.log else float(value)
    if column.sort != "number" and text in column.texts:
        code = column.texts.index(text)
        if column.sort == "category":
            return place + code, 1.0
        return place, float(code) if column.sort == "ordinal" else float(1 if code else false_is)
    raise DataError(
        f"`missing` gives column `{column.name}` of {where} the constant {value}, and it holds {column.contents}",
        hint=f"It has {', '.join(column.texts[:5])}."
        if column.texts
        else "Take mean, median or indicator."
        if column.sort == "date"
        else "Give a number.",
    )
