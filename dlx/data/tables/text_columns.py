"""Columns of a table that are texts: fields of padded tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import DataError
from ...utils.numbers import as_number
from ..base import ColumnUse
from ..text.fields import Form, TextField, text_fields
from .frame import Frame, plain

if TYPE_CHECKING:
    from ..base import Field, Labels
    from ..splits import Indices
    from .table import Table
    from .table_fields import InputColumns, TargetColumn


def text_inputs(table: Table) -> dict[str, InputColumns]:
    """Return the input fields that are texts, by name."""
    return {name: one for name, one in (table.inputs or {}).items() if one.form == "text"}


def text_targets(table: Table) -> dict[str, TargetColumn]:
    """Return the targets that are texts, by name."""
    return {name: one for name, one in (table.targets or {}).items() if one.form == "text"}


def shifted(table: Table) -> dict[str, str]:
    """Return the target that each shifted input is of, by the name of the input."""
    return {name: one.shifted for name, one in (table.inputs or {}).items() if one.shifted is not None}


def text_columns(table: Table, *, targets: bool = True) -> dict[str, str]:
    """Return the column of each text field by its name; those of inputs alone without `targets`."""
    fields = {**text_inputs(table), **(text_targets(table) if targets else {})}
    return {name: one.column or name for name, one in fields.items()}


def first_target_is_text(table: Table) -> bool:
    """Whether the target that `target` of a batch is, is a text."""
    return next(iter(table.targets or {}), None) in text_targets(table)


def texts_of(frame: Frame, column: str) -> list[str]:
    """Return the texts of a column. DataError where it holds something else."""
    from pyarrow import types

    values = plain(frame.table.column(column))
    if not (types.is_string(values.type) or types.is_large_string(values.type)):
        message = f"column `{column}` of {frame.path} holds {values.type}, and `is: text` takes texts"
        raise DataError(message, hint="Save it as texts, or take it as what it is: `is: values`.")
    found: list[str] = values.to_pylist()
    return found


def fitted_texts(table: Table, frames: Sequence[Frame], rows: Indices) -> dict[str, TextField]:
    """Return the text fields by name, with tokenizers of the training rows, or those of the run that goes on."""
    known, found = text_fields(), {}
    for name, column in text_columns(table).items():
        options = text_inputs(table).get(name) or text_targets(table)[name]
        form: Form = "input" if name in text_inputs(table) else "target"
        each = [texts_of(frame, column) for frame in frames]
        training = [each[0][row] for row in rows.tolist()]
        every = [text for texts in each for text in texts]
        found[name] = TextField.of(options, training, every, form, _where(column, frames[0]), known.get(name))
    return found


def text_arrays(
    table: Table, frame: Frame, fields: Mapping[str, TextField], *, targets: bool = True
) -> dict[str, Labels]:
    """Return the numbers of each text field and of each shifted input (rows, length).

    Without `targets` they are those of inputs, and nothing of a target has been written.
    """
    found = {}
    for name, column in text_columns(table, targets=targets).items():
        form: Form = "input" if name in text_inputs(table) else "target"
        found[name] = fields[name].encode(texts_of(frame, column), form, _where(column, frame))
    for name, target in shifted(table).items():
        if not targets:
            found[name] = fields[target].begun(len(frame))
            continue
        column = text_columns(table)[target]
        found[name] = fields[target].encode(texts_of(frame, column), "shifted", _where(column, frame))
    return found


def text_notes(table: Table, frames: Sequence[Frame], fields: Mapping[str, TextField]) -> Iterator[str]:
    """Yield a note on each text field that holds numbers alone, and on each of which some texts are cut off."""
    for name, column in text_columns(table).items():
        form: Form = "input" if name in text_inputs(table) else "target"
        if _holds_numbers(frames, column):
            use = "values" if form == "input" else "values` or `classes"
            yield f"`{name}`: column `{column}` holds numbers alone, read as texts. `is: {use}` takes their values."
        if not fields[name].cut:
            continue
        each = [texts_of(frame, column) for frame in frames]
        lost = sum(fields[name].longer(texts, form, column) for texts in each)
        if lost:
            count, length = f"{lost:,} of {sum(map(len, each)):,} texts", f"`length: {fields[name].length:,}`"
            yield f"`{name}`: {count} lose what is behind {length}, as `cut: true` asks."


def _holds_numbers(frames: Iterable[Frame], column: str) -> bool:
    """Whether all texts of a column are numbers; the first that is none ends the look."""
    values = (value.as_py() for frame in frames for value in plain(frame.table.column(column)))
    return all(as_number(text) is not None for text in values)


def described_texts(table: Table, fields: Mapping[str, TextField]) -> dict[str, Field]:
    """Return the text fields and the shifted inputs of a batch, by name."""
    targets = text_targets(table)
    found = {name: one.described("target" if name in targets else "input") for name, one in fields.items()}
    return found | {name: fields[of].described("shifted", of) for name, of in shifted(table).items()}


def text_uses(table: Table, fields: Mapping[str, TextField]) -> Iterator[ColumnUse]:
    """Yield the use of each column of a text field."""
    targets = text_targets(table)
    for name, column in text_columns(table).items():
        one = fields[name]
        why = f"{one.tokenizer.size:,} tokens, {one.length:,} of them in a text"
        role = f"target `{name}`, text" if name in targets else "text"
        yield ColumnUse(column, role, 0 if name in targets else one.length, why, name)


def _where(column: str, frame: Frame) -> str:
    return f"column `{column}` of {frame.path}"
