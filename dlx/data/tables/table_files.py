"""The files of a table, read to frames of the columns in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError
from ..file_reading import listed
from ..preprocess import EARLIER_FIT
from .column_uses import INDEX, NAMELESS
from .columns import saved_columns
from .frame import Frame, read
from .missing_values import Rule, check_rules, drop_incomplete, rule_of
from .parquet_rows import SUFFIXES

if TYPE_CHECKING:
    from .table import Table

OF_CSV = ("names", "delimiter", "thousands", "decimal", "na_values")
"""Fields that describe the notation of a CSV file."""


def _check_csv(table: Table) -> None:
    """Raise a DataError where a field for CSV files is set for another format."""
    provided = [name for name in OF_CSV if name in table.model_fields_set and getattr(table, name)]
    if provided and table.path.suffix in SUFFIXES:
        raise DataError(
            f"{listed(provided)} is for CSV files, and {table.path} holds columns with names and types",
            hint="Leave it out.",
        )


def frames_of(table: Table) -> list[Frame]:
    """Read the used columns of each file, without rows that a rule for missing values drops."""
    _check_csv(table)
    paths = [path for path in (table.path, table.test_path) if path is not None]
    frames = [read(Path(path), table.names, table.delimiter, table.na_values) for path in paths]
    first, *others = (frame.only(_wanted(table, frame)) for frame in frames)
    first = replace(first, left_out=_left_out(table, frames[0]))
    earlier = EARLIER_FIT.get()
    like = saved_columns(earlier.reading) if earlier is not None else []
    stored = {column.name: column.stored for column in like if column.stored}
    first = first.typed(table.notation, (*table.categorical, *table.ordinal), stored or None)
    chosen = [first, *(frame.typed(table.notation, like=first.sorts()) for frame in others)]
    for frame in chosen:
        check_rules(table.missing, frame.names, table.targets, str(frame.path))
    return [drop_incomplete(frame, _rules(table, frame.names)) for frame in chosen]


def _rules(table: Table, names: list[str]) -> dict[str, Rule]:
    """Return the method for missing values of each column; targets are never imputed."""
    rules = {name: rule_of(table.missing, name) for name in names}
    return {n: "refuse" if n in table.targets and rule != "drop" else rule for n, rule in rules.items()}


def _wanted(table: Table, frame: Frame) -> list[str]:
    for name in ("target", "columns", "drop", "categorical", "log", "ordinal"):
        wanted = table.targets if name == "target" else getattr(table, name) or []
        frame.check(wanted, name)
    inputs = table.columns or [n for n in frame.names if n not in (*table.drop, *table.targets, *frame.index)]
    if shared := set(inputs) & set(table.targets):
        raise DataError(f"{listed(shared)} is told and told from", hint="Take it out of `columns`.")
    if not inputs:
        raise DataError(f"{frame.path} has no column but the target", hint="Give a file with more columns.")
    return [*inputs, *table.targets]


def _left_out(table: Table, frame: Frame) -> dict[str, str]:
    """Return the reason for each column that is not used."""
    used = [*table.targets, *(table.columns or [])]
    found = {name: INDEX if name else NAMELESS for name in frame.index}
    found |= dict.fromkeys(table.drop, "`drop` names it")
    if table.columns:
        found = dict.fromkeys(frame.names, "`columns` does not name it")
    return {name: why for name, why in found.items() if name not in used}
