"""The files of a table, read to frames of the columns in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, listed
from ..preprocess import EARLIER_FIT
from .column_uses import INDEX, NAMELESS
from .columns import saved_columns
from .date_parts import DateOptions
from .frame import Frame, read
from .missing_values import REST, Rule, check_rules, drop_incomplete, rule_of
from .parquet_rows import SUFFIXES
from .text_columns import text_columns

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


def frames_of(table: Table, beside: Sequence[str] = ()) -> list[Frame]:
    """Read the used columns of each file, and those `beside` them, without rows that a rule for missing values drops.

    DataError where a file lacks a column.
    """
    frames, used = _typed(table, beside)
    others: dict[str, Rule] = dict.fromkeys(set(beside) - set(used), "mean")  # their missing values stay
    rules = [_rules(table, frame.names) | others for frame in frames]
    return [drop_incomplete(frame, rule, table.non_inputs) for frame, rule in zip(frames, rules, strict=True)]


def all_rows(table: Table) -> list[Frame]:
    """Read the used columns of each file, all rows of them."""
    return _typed(table)[0]


def _typed(table: Table, beside: Sequence[str] = ()) -> tuple[list[Frame], list[str]]:
    """Return all rows of each file with types, and the names of the columns that are used."""
    _check_csv(table)
    paths = [path for path in (table.path, table.test_path) if path is not None]
    frames = [read(Path(path), table.names, table.delimiter, table.na_values) for path in paths]
    used = [_wanted(table, frame, frame is frames[0]) for frame in frames]
    for frame in frames:
        frame.check(beside, "--by")
    first, *others = (frame.only([*names, *beside]) for frame, names in zip(frames, used, strict=True))
    first = replace(first, left_out=_left_out(table, frames[0]))
    earlier = EARLIER_FIT.get()
    like = saved_columns(earlier.reading) if earlier is not None else []
    stored = {column.name: column.stored for column in like if column.stored}
    forms = date_formats(table, first.names)
    stored |= dict.fromkeys((*table.text, *text_columns(table).values()), "text")
    names = (*table.categorical, *table.ordinal, *table.target_encoding, *table.split_columns)
    first = first.typed(table.notation, names, stored, forms)
    chosen = [first, *(frame.typed(table.notation, like=first.sorts(), dates=forms) for frame in others)]
    for frame in chosen:
        check_rules(table.missing, frame.names, table.non_inputs, str(frame.path))
    return chosen, used[0]


def date_formats(table: Table, names: Sequence[str]) -> dict[str, str | None]:
    """Return the columns that `dates` names, with the format of each; None for ISO 8601."""
    named = {name: table.dates[name] for name in names if name in table.dates}
    return {name: one.format if isinstance(one, DateOptions) else None for name, one in named.items()}


def _rules(table: Table, names: list[str]) -> dict[str, Rule]:
    """Return the method for missing values of each column; targets are never imputed."""
    rules = {name: rule_of(table.missing, name) for name in names}
    needed = {*table.non_inputs, *table.split_columns, *text_columns(table).values()}
    return {n: "refuse" if n in needed and rule != "drop" else rule for n, rule in rules.items()}


def _wanted(table: Table, frame: Frame, own: bool) -> list[str]:
    for name in ("target", "columns", "drop", "categorical", "log", "ordinal", "target_encoding", "text"):
        wanted = table.non_inputs if name == "target" else getattr(table, name) or []
        frame.check(wanted, name)
    frame.check([name for name in table.dates if name != REST], "dates")
    keys = table.split_columns if own else table.split_columns[-1:]
    frame.check(keys, "split")
    inputs, texts = table.taken, list(text_columns(table, targets=False).values())
    frame.check(texts, "inputs")
    if inputs is None:
        inputs = [n for n in table.inputs_among(frame.names) if n not in (*table.drop, *frame.index)]
    if shared := set(inputs) & set(table.non_inputs):
        raise DataError(f"{listed(shared)} is both input and target", hint="Take it out of `columns`.")
    if not inputs and not texts:
        raise DataError(f"{frame.path} has no column but the target", hint="Give a file with more columns.")
    for option in ("ordinal", "target_encoding", "text", "dates"):
        for name in getattr(table, option):
            if name not in (*inputs, REST):
                raise DataError(
                    f"`{option}` names `{name}` of {frame.path}, which is no input",
                    hint=f"Take it out of `{option}`.",
                )
    return [*dict.fromkeys([*inputs, *texts, *table.non_inputs]), *keys]


def _left_out(table: Table, frame: Frame) -> dict[str, str]:
    """Return the reason for each column that is not used."""
    used = [*table.non_inputs, *(table.taken or []), *text_columns(table).values()]
    split = {} if isinstance(table.split, str) else table.split
    found = {name: INDEX if name else NAMELESS for name in frame.index}
    found |= dict.fromkeys(table.drop, "`drop` names it")
    if table.taken is not None:
        named = "columns" if table.inputs is None else "inputs"
        found = dict.fromkeys(frame.names, f"`{named}` does not name it")
    found |= {
        name: f"`split` goes by it: {'the part' if key == 'by' else 'the group'} of a row"
        for key, name in split.items()
    }
    return {name: why for name, why in found.items() if name not in used}
