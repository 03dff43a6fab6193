"""Several inputs and targets, weights and ids of a table: which columns are which field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from ..base import Facts, facts_of_fields
from ..base import Field as DataField
from ..file_reading import example_weights
from ..preprocess import shape_after
from ..text.fields import TextField, TextOptions
from .columns import Column, category_codes
from .encode import encode, encode_parts
from .encodings import goal_of
from .frame import Frame
from .text_columns import described_texts, shifted, text_columns, text_targets

if TYPE_CHECKING:
    from ..base import Labels, Values
    from ..preprocess import Preprocess
    from ..splits import Indices
    from .table import Table


class _FieldOfColumns(TextOptions):
    """A field of a table; the options of texts are for those alone."""

    column: str | None = Field(None, description="its name in the file; null: that of the field")
    form: str | None = None

    @model_validator(mode="after")
    def _options_of_texts(self) -> Self:
        said = [name for name in TextOptions.model_fields if name in self.model_fields_set]
        if said and self.form != "text":
            raise ValueError(f"`{said[0]}` is of texts: write `is: text` beside it, or leave it out")
        return self


class TargetColumn(_FieldOfColumns):
    """A column that is learned, and what it is."""

    form: Literal["values", "classes", "text"] | None = Field(
        None, alias="is", description="null: classes where it is text or Boolean, else values; text: its tokens"
    )


class InputColumns(_FieldOfColumns):
    """Columns that one input of a network takes, or the tokens of a text."""

    columns: list[str] = Field([], description="their names in the file, of values and integers")
    form: Literal["values", "integers", "text"] = Field(
        "values",
        alias="is",
        description="integers: whole numbers, or the numbers of categories, for an `embedding`; text: tokens",
    )
    shifted: str | None = Field(
        None, description="a target of text, whose tokens it has one place later, with `<begin>` first"
    )

    @model_validator(mode="after")
    def _says_columns(self) -> Self:
        if self.shifted is not None:
            if others := self.model_fields_set - {"shifted"}:
                more = "is" if "form" in others else min(others)
                raise ValueError(f"`shifted` takes the tokens of `{self.shifted}` as they are: leave out `{more}`")
        elif self.form == "text":
            if self.columns:
                raise ValueError("a text is one column: write `column: NAME` in place of `columns`")
        elif self.column is not None:
            raise ValueError(f"`column` is of a text: write `columns: [{self.column}]`, or `is: text` beside it")
        elif not self.columns:
            raise ValueError("an input is made of columns: write `columns: [NAME, ...]`, or `is: text`")
        return self


TEXT = "text"
"""What stands for a text in the short form of a field."""


def _of_target(value: Any) -> Any:
    return {"is": value} if value is None or isinstance(value, str) else value


def _of_inputs(value: Any) -> Any:
    if isinstance(value, str):
        return {"is": TEXT} if value == TEXT else {"columns": [value]}
    return {"columns": value} if isinstance(value, list) else value


TargetFields = Annotated[
    dict[str, Annotated[TargetColumn, BeforeValidator(_of_target, json_schema_input_type=TargetColumn | str | None)]]
    | None,
    Field(
        min_length=1, description="several targets: for each field `values`, `classes` or `text`, or its `column` too"
    ),
]
InputFields = Annotated[
    dict[
        str,
        Annotated[InputColumns, BeforeValidator(_of_inputs, json_schema_input_type=InputColumns | list[str] | str)],
    ]
    | None,
    Field(
        min_length=1,
        description="several inputs: the columns of each field, `{columns: [...], is: integers}`, or `text`",
    ),
]


def check_fields(table: Table) -> None:
    """Raise a ValueError where the fields of a table contradict each other."""
    if table.unlabelled:
        _check_unlabelled(table)
    if table.target is not None and table.targets is not None:
        raise ValueError("`target` and `targets` both name what is learned: give one of the two")
    if table.targets is not None and table.task is not None:
        raise ValueError("`task` is of one `target`: `targets: {NAME: classes}` says it of each")
    if table.inputs is not None and table.columns is not None:
        raise ValueError("`columns` and `inputs` both choose the inputs: give one of the two")
    _check_texts(table)
    names = [*(table.inputs or ("input",)), *(() if table.unlabelled else table.targets or ("target",))]
    names += ["weight"] * (table.weights is not None) + ["id"] * (table.ids is not None)
    for name in names:
        if not name.isidentifier():
            raise ValueError(
                f"a field cannot be called `{name}`: letters, digits and `_`. Write `targets: {{NAME: {{column: "
                f'"{name}", is: values}}}}`'
            )
        if names.count(name) > 1:
            raise ValueError(f"two fields are called `{name}`: give each a name of its own")
    if table.ids is not None and table.ids in (table.taken or []):
        raise ValueError(
            f"`ids` names the examples by `{table.ids}`, and it is an input too, by which each could be learned by "
            "heart: take it out of the inputs"
        )


def _check_unlabelled(table: Table) -> None:
    """Raise a ValueError where a table names no target, or options that are of one."""
    if "target" not in table.model_fields_set:
        raise ValueError(
            "`target` names no column to learn: write `target: COLUMN`, `targets` for several, or `target: null` for "
            "rows without labels"
        )
    for name in ("task", "stratify", "label_noise", "labelled", "target_encoding"):
        if getattr(table, name):
            raise ValueError(f"`{name}` is of targets, and `target: null` has none: leave one of the two out")


def _check_texts(table: Table) -> None:
    """Raise a ValueError where text fields contradict others."""
    for name, target in shifted(table).items():
        if target not in text_targets(table):
            has = ", ".join(f"`{one}`" for one in text_targets(table)) or "none"
            raise ValueError(f"`{name}` is shifted from `{target}`, which is no target of text: there is {has}")
    for name, column in text_columns(table).items():
        if column in (table.taken or []):
            raise ValueError(f"`{name}` takes the column `{column}` as a text, and another input takes its values")


def target_columns(table: Table) -> dict[str, TargetColumn]:
    """Return the columns that are learned, by field."""
    return dict(table.targets or {})


# --- arrays ---------------------------------------------------------------------------------------------------------


def groups_of(table: Table, columns: Sequence[Column]) -> dict[str, list[Column]]:
    """Return the columns of each input field but texts, the main one first: the first of values, or the first."""
    if table.inputs is None:
        return {"input": list(columns)}
    by_name = {column.name: column for column in columns}
    found = {name: [by_name[n] for n in group.columns] for name, group in table.inputs.items() if group.columns}
    return dict(sorted(found.items(), key=lambda item: is_integers(table, item[0])))


def is_integers(table: Table, field: str) -> bool:
    """Whether an input field is of integers."""
    return table.inputs is not None and table.inputs[field].form == "integers"


def main_input(table: Table) -> str:
    """Return the name of the main input: the first of values, else the first that is no text, else the first."""
    names = list(groups_of(table, ())) if table.inputs is None else _in_rank(table, list(table.inputs))
    return names[0]


def _in_rank(table: Table, names: Sequence[str]) -> list[str]:
    ranks = {"values": 0, "integers": 1, "text": 2}
    inputs = table.inputs or {}
    return sorted(names, key=lambda name: 3 if inputs[name].shifted else ranks[inputs[name].form])


def inputs_of(
    table: Table, frame: Frame, columns: Sequence[Column], steps: Mapping[str, Sequence[Preprocess]] | None = None
) -> dict[str, Values]:
    """Return the array of each input field, the main one first; in all digits for those that have `steps`."""
    return {
        name: _integers(frame, group)
        if is_integers(table, name)
        else encode(frame, group, table.false_is, exact=steps is None or bool(steps[name]))
        for name, group in groups_of(table, columns).items()
    }


def inputs_of_parts(
    table: Table,
    frame: Frame,
    columns: Sequence[Column],
    steps: Mapping[str, Sequence[Preprocess]],
    parts: Sequence[Indices],
) -> list[dict[str, Values]]:
    """Return the arrays of `inputs_of` for the rows of each part."""
    found: list[dict[str, Values]] = [{} for _ in parts]
    for name, group in groups_of(table, columns).items():
        if is_integers(table, name):
            whole = _integers(frame, group)
            arrays = [whole[rows] for rows in parts]
        else:
            arrays = encode_parts(frame, group, table.false_is, parts, exact=bool(steps[name]))
        for one, array in zip(found, arrays, strict=True):
            one[name] = array
    return found


def _integers(frame: Frame, columns: Sequence[Column]) -> Labels:
    return np.stack([_whole(frame, column) for column in columns], 1)


def _whole(frame: Frame, column: Column) -> Labels:
    """Return a column as integers: its whole numbers, or the numbers of its categories from 0."""
    where = f"column `{column.name}` of {frame.path}"
    if column.sort in ("category", "ordinal", "boolean"):
        codes = category_codes(frame, column)
        if (codes < 0).any():
            raise DataError(
                f"{where} has missing values, and has to be integers", hint="`missing: drop` leaves them out."
            )
        return codes
    if column.sort != "number":
        raise DataError(f"{where} holds {column.contents}, and `is: integers` takes whole numbers and categories")
    values = frame.numbers(column.name)
    if odd := values[values != np.round(values)][:1].tolist():
        raise DataError(f"{where} holds {odd[0]}, and `is: integers` takes whole numbers")
    return values.astype(np.int64)


def further_of(table: Table, frame: Frame, goals: Mapping[str, Column | None]) -> dict[str, Any]:
    """Return the arrays of targets after the first one, of weights and of ids, by field."""
    found: dict[str, Any] = {}
    for name, one in list(target_columns(table).items())[1:]:
        if one.form == TEXT:
            continue
        y = table.targets_from(frame, goals[name], [one.column or name])
        found[name] = y if goals[name] is not None else y.astype(np.float32)
    if table.weights is not None:
        where = f"column `{table.weights}` of {frame.path}"
        found["weight"] = example_weights(frame.numbers(table.weights).astype(np.float32), where)
    if table.ids is not None:
        found["id"] = ids_of(table, frame)
    return found


def ids_of(table: Table, frame: Frame) -> Any:
    """Return the texts of the column of ids."""
    return np.array([str(one) for one in frame.table.column(table.ids).to_pylist()])


def further_goals(table: Table, pool: Frame) -> dict[str, Column | None]:
    """Return the encoding of each target after the first; None for one of values."""
    found = [(name, one) for name, one in list(target_columns(table).items())[1:] if one.form != TEXT]
    return {name: goal_of(table, pool, [one.column or name], TASKS.get(one.form)) for name, one in found}


TASKS: dict[str | None, Literal["classification", "regression"]] = {
    "classes": "classification",
    "values": "regression",
}
"""What a target is, by its `is`."""


# --- facts ----------------------------------------------------------------------------------------------------------


def fields_of(
    table: Table,
    frames: Sequence[Frame],
    columns: Sequence[Column],
    goal: Column | None,
    texts: Mapping[str, TextField] = MappingProxyType({}),
) -> dict[str, DataField]:
    """Return all fields by name; empty for one input and one target of today's names."""
    if not table.has_fields:
        return {}
    of_texts = described_texts(table, texts)
    found = dict(_input_fields(table, frames[0], columns)) | {
        name: one for name, one in of_texts.items() if one.role == "input"
    }
    if table.inputs is not None:
        found = {name: found[name] for name in _in_rank(table, list(found))}
    goals = {next(iter(table.targets), ""): goal} if table.targets else {"target": goal}
    goals = {} if table.unlabelled else goals
    goals |= further_goals(table, frames[0])
    for name in table.targets or goals:
        if name in of_texts:
            found[name] = of_texts[name]
            continue
        one = goals[name]
        column = _column_of(table, name)
        if one is None:
            found[name] = DataField(Shape((len(column),)), "target")
        else:
            classes = table.classes_of(one, list(frames))
            found[name] = DataField(Shape((), "int"), "target", classes, tuple(one.texts))
    if table.weights is not None:
        found["weight"] = DataField(Shape(), "weight")
    if table.ids is not None:
        found["id"] = DataField(Shape((), "int"), "id")
    return found


def _column_of(table: Table, field: str) -> list[str]:
    return [table.targets[field].column or field] if table.targets else table.goal_columns


def _input_fields(table: Table, pool: Frame, columns: Sequence[Column]) -> Iterator[tuple[str, DataField]]:
    for name, group in groups_of(table, columns).items():
        if not is_integers(table, name):
            width = Shape((sum(column.width for column in group),))
            yield name, DataField(shape_after(table.preprocess, width))
            continue
        counts = [len(c.texts) or int(_whole(pool, c).max(initial=0)) + 1 for c in group]
        yield name, DataField(Shape((len(group),), "int"), classes=max(counts))


def named_facts(fields: Mapping[str, DataField], facts: Facts) -> Facts:
    """Return the facts with named fields, where there are some."""
    return facts_of_fields(fields, facts.columns, facts.warnings, facts.examples) if fields else facts
