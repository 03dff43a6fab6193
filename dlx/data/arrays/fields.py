"""Several inputs and targets, weights and ids from files of arrays: which array is which field, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from ...errors import DataError, Problem, plural
from ...lazy import np
from ...shapes import Shape
from ..base import ColumnUse, Role
from ..base import Field as DataField
from ..file_reading import example_weights, real_numbers
from .array_files import StoredArray, names_in, open_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from .arrays import Arrays

    Array = npt.NDArray[Any]

IGNORED = -100
"""Class number of positions that do not count: torch's `ignore_index`."""
WIDER = {"u2": "i4", "u4": "i8", "u8": "i8"}
"""Unsigned integers that torch cannot compute with, and the signed ones that hold them."""


class ArrayChoice(BaseModel):
    """An array of the file, and what its numbers are."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    array: str = Field(description="name of the array in the file, or a file .npy beside it")


def _by_name(value: Any) -> Any:
    return {"array": value} if isinstance(value, str) else value


class InputArray(ArrayChoice):
    """An array that a network takes."""

    form: Literal["values", "integers", "booleans"] | None = Field(
        None,
        alias="is",
        description="null: integers where they are whole numbers of more than a byte or signed, else values",
    )


class TargetArray(ArrayChoice):
    """An array that is learned."""

    form: Literal["classes", "values"] | None = Field(
        None, alias="is", description="null: classes where they are whole numbers, else values"
    )
    classes: PositiveInt | None = Field(None, description="number of classes; null: the largest number and one")

    @model_validator(mode="after")
    def _of_classes(self) -> Self:
        if self.classes is not None and self.form == "values":
            raise ValueError("`classes` is the number of classes, and `is: values` has none: leave one out")
        return self


Inputs = Annotated[
    dict[str, Annotated[InputArray, BeforeValidator(_by_name, json_schema_input_type=InputArray | str)]] | None,
    Field(description="several inputs: the array of each field; `{array: NAME, is: integers}` says what it holds"),
]
Targets = dict[str, Annotated[TargetArray, BeforeValidator(_by_name, json_schema_input_type=TargetArray | str)]]


@dataclass(frozen=True)
class FieldArray:
    """A field with the header of its array in one part of the data."""

    name: str
    role: Role
    choice: ArrayChoice
    stored: StoredArray
    array: str
    """Name of the array."""
    where: str
    """The array with its file, for messages."""

    @property
    def form(self) -> str:
        """Meaning of its numbers: values, integers, booleans, classes, weights or ids."""
        if self.role in ("weight", "id"):
            return self.role
        said = getattr(self.choice, "form", None)
        kind = self.stored.dtype.kind
        if said is not None:
            return str(said)
        if self.role == "target":
            return "classes" if kind in "iub" else "values"
        return "integers" if kind in "iu" and self.stored.dtype != np.uint8 else "values"


def parts_of(source: Arrays) -> dict[str, list[FieldArray]]:
    """Return the fields of each part, with headers only, the main input and the first target first.

    Parts that have files of their own are those for which every array has one: `test_NAME`, `valid_NAME`.

    Raises:
        DataError: arrays are missing, have different numbers of examples, or parts differ in shape.
    """
    chosen = choices(source)
    found = {"train": [field_of(source, name, role, one, "") for name, (role, one) in chosen.items()]}
    for part in ("valid", "test"):
        if getattr(source, part) or (part == "valid" and source.folds):
            continue
        there = {name: exists(source, f"{part}_", one.array) for name, (_, one) in chosen.items()}
        if not any(there.values()):
            continue
        if lacking := [name for name, is_there in there.items() if not is_there]:
            wanted = ", ".join(f"`{_in_part(chosen[name][1].array, f'{part}_')}`" for name in lacking)
            having = ", ".join(f"`{name}`" for name, is_there in there.items() if is_there)
            message = f"{source.path} has the part `{part}` of {having}, and lacks {wanted}"
            raise DataError(message, hint="Give every field of a part, or none.")
        found[part] = [field_of(source, name, role, one, f"{part}_") for name, (role, one) in chosen.items()]
    _check_lengths(found)
    _check_shapes(found)
    return {part: _main_first(fields) for part, fields in found.items()}


def choices(source: Arrays) -> dict[str, tuple[Role, ArrayChoice]]:
    inputs: Mapping[str, ArrayChoice] = source.inputs or {"input": InputArray(array=source.x, form="values")}
    by_name = source.targets if isinstance(source.targets, dict) else None
    targets: Mapping[str, ArrayChoice] = by_name if by_name is not None else {"target": TargetArray(array=source.y)}
    targets = {} if source.unlabelled else targets
    found: dict[str, tuple[Role, ArrayChoice]] = {name: ("input", one) for name, one in inputs.items()}
    found |= {name: ("target", one) for name, one in targets.items()}
    if source.weights is not None:
        found["weight"] = ("weight", ArrayChoice(array=source.weights))
    if source.ids is not None:
        found["id"] = ("id", ArrayChoice(array=source.ids))
    return found


def _in_part(array: str, prefix: str) -> str:
    folder, slash, name = array.rpartition("/")
    return f"{folder}{slash}{prefix}{name}"


def _file(source: Arrays, array: str) -> Path:
    """Return the file of an array: one .npy of its own, or the file of all."""
    folder = source.path if source.path.is_dir() else source.path.parent
    if array.endswith(".npy"):
        return folder / array
    return source.path / f"{array}.npy" if source.path.is_dir() else source.path


def files_of(source: Arrays) -> list[Path]:
    """Return the files that arrays may lie in, those of other parts among them; not all need exist."""
    names = [_in_part(one.array, prefix) for prefix in ("", "valid_", "test_") for _, one in choices(source).values()]
    return list(dict.fromkeys(_file(source, name) for name in names))


def exists(source: Arrays, prefix: str, array: str) -> bool:
    name = _in_part(array, prefix)
    file = _file(source, name)
    return file.is_file() if file.suffix == ".npy" else name in names_in(file)


def field_of(source: Arrays, name: str, role: Role, choice: ArrayChoice, prefix: str) -> FieldArray:
    array = _in_part(choice.array, prefix)
    file = _file(source, array)
    where = str(file) if file.suffix == ".npy" else f"`{array}` of {file}"
    stored = open_array(file, array, text=role == "id")
    field = FieldArray(name, role, choice, stored, array, where)
    _check_form(field, source)
    return field


def _check_form(field: FieldArray, source: Arrays) -> None:
    """Raise a DataError for an array whose type or axes are not what its field holds."""
    kind, sizes, where = field.stored.dtype.kind, field.stored.sizes, field.where
    whole = {"integers": "iu", "booleans": "b", "classes": "iubf"}.get(field.form)
    if whole is not None and kind not in whole:
        raise DataError(f"{where} holds {field.stored.dtype}, and the field `{field.name}` is {field.form}")
    if field.role in ("weight", "id") and len(sizes) != 1:
        noun = "weights are one number an example" if field.role == "weight" else "ids are one an example"
        raise DataError(f"{where} has the shape {Shape(sizes)}, and {noun}", hint="Give an array of one axis.")
    if field.role == "input" and len(sizes) < 2 and field.form == "values" and source.channels != "none":
        raise DataError(
            f"{where} has the shape {Shape(sizes)}: one axis, of examples",
            hint="`channels: none` makes each number an input of one value.",
        )
    if not sizes or not prod(sizes):
        raise DataError(f"{where} has the shape {Shape(sizes)}: no values", hint="Give an array with examples in it.")


def _check_lengths(parts: Mapping[str, list[FieldArray]]) -> None:
    problems = []
    for fields in parts.values():
        counts = [one.stored.sizes[0] for one in fields]
        usual = fields[counts.index(max(counts, key=counts.count))]
        for one, count in zip(fields, counts, strict=True):
            if count != usual.stored.sizes[0]:
                message = f"{usual.where} holds {usual.stored.sizes[0]:,} examples, and {one.where} {count:,}"
                problems.append(Problem(message, "Give arrays of the same examples, in the same order."))
    if problems:
        raise DataError(*problems)


def _check_shapes(parts: Mapping[str, list[FieldArray]]) -> None:
    for part, fields in parts.items():
        for first, other in zip(parts["train"], fields, strict=True):
            one, two = first.stored.sizes[1:], other.stored.sizes[1:]
            if part != "train" and (one, first.form) != (two, other.form):
                message = f"{first.where} holds {first.form} of shape {Shape(one)}, {other.where} {other.form} of"
                raise DataError(f"{message} {Shape(two)}", hint="Give parts of one set.")


def _main_first(fields: list[FieldArray]) -> list[FieldArray]:
    """Put the input first that augmentations change: a picture of values, or else the first input."""

    def rank(field: FieldArray) -> int:
        return 0 if field.role != "input" else 1 if field.form == "values" and len(field.stored.sizes) > 3 else 2

    order = {"input": 0, "target": 1, "weight": 2, "id": 3}
    return sorted(fields, key=lambda field: (order[field.role], rank(field)))


# --- arrays of a field ----------------------------------------------------------------------------------------------


def read(field: FieldArray, source: Arrays) -> Array:
    """Return the numbers of a field, as a batch has them."""
    raw, where = field.stored.read(), field.where
    if field.form == "id":
        return raw
    if field.form in ("integers", "booleans"):
        return _columns(np.ascontiguousarray(raw, WIDER.get(raw.dtype.str[1:], raw.dtype.newbyteorder("="))))
    if field.form == "classes":
        return classes(raw, where)
    if field.role == "input":
        return source.plain(raw, where)
    values = real_numbers(raw, where).astype(np.float32, copy=False)
    return _columns(values) if field.role == "target" else example_weights(values, where)


def _columns(values: Array) -> Array:
    """Return numbers of examples (n,) as (n, 1), and others as they are."""
    return values if values.ndim > 1 else values[:, None]


def classes(raw: Array, where: str) -> Array:
    """Return class numbers of examples (n,) or of positions (n, *size) as int64; `IGNORED` may stand at positions."""
    plain = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if plain.dtype.kind == "f" and not (plain == np.round(plain)).all():
        odd = plain[plain != np.round(plain)][0]
        raise DataError(f"{where} holds {odd}, and classes are whole numbers", hint="Number the classes from 0.")
    numbers = plain.astype(np.int64)
    low = numbers[numbers != IGNORED].min(initial=0) if numbers.ndim > 1 else numbers.min(initial=0)
    hidden = (numbers == IGNORED).reshape(len(numbers), -1).all(1) if numbers.ndim > 1 else np.zeros(1, bool)
    if hidden.any():
        message = (
            f"{where} hides all positions of {plural(int(hidden.sum()), 'example')}, such as number {hidden.argmax()}"
        )
        raise DataError(message, hint=f"Leave them out: {IGNORED} stands for positions that do not count.")
    if low < 0:
        ignored = f"; {IGNORED} stands for positions that do not count" if numbers.ndim > 1 else ""
        raise DataError(f"{where} holds the class {low}, and classes count from 0{ignored}")
    return numbers


def describe(fields: list[FieldArray], arrays: Mapping[str, Array], source: Arrays) -> dict[str, DataField]:
    """Return the fields by name; `arrays` has those of class numbers, whose largest gives their number of classes."""
    found = {}
    for field in fields:
        sizes, form, name = field.stored.sizes, field.form, field.name
        if form == "classes":
            numbers = arrays[name]
            count, said = int(numbers.max(initial=0)) + 1, getattr(field.choice, "classes", None)
            if said is not None and count > said:
                message = f"{field.where} holds the class {count - 1}, and `classes` says {said}: 0 to {said - 1}"
                raise DataError(message)
            found[name] = DataField(Shape(numbers.shape[1:], "int"), "target", said or count)
        elif field.role == "target":
            found[name] = DataField(Shape(sizes[1:] or (1,)), "target")
        elif field.role == "input":
            dtype = {"integers": "int", "booleans": "bool"}.get(form, "float")
            shape = source.shape_of(sizes, field.where) if dtype == "float" else Shape(sizes[1:] or (1,), dtype)
            found[name] = DataField(shape, "input")
        else:
            found[name] = DataField(Shape((), "float" if field.role == "weight" else "int"), field.role)
    return found


def uses(fields: Mapping[str, list[FieldArray]], source: Arrays) -> tuple[ColumnUse, ...]:
    """Return what each array is taken for, and why."""
    found = []
    for part, each in fields.items():
        for one in each:
            said = getattr(one.choice, "form", None) is not None
            why = (
                f"{one.stored.dtype}, {Shape(one.stored.sizes[1:])} each"
                if one.stored.sizes[1:]
                else str(one.stored.dtype)
            )
            divided = ", divided by 255" if source.scale and one.role == "input" and _bytes(one) else ""
            of_part = "" if part == "train" else f", {part} part"
            taken = (
                f"{one.role} `{one.name}`, {one.form}{of_part}" if one.form != one.role else f"{one.role}{of_part}"
            )
            inputs = prod(one.stored.sizes[1:]) if one.role == "input" else 0
            found.append(
                ColumnUse(
                    one.array, f"{taken}{of_part}", inputs, f"{why}{divided}{', as the spec says' * said}", one.name
                )
            )
    return tuple(found)


def _bytes(field: FieldArray) -> bool:
    return field.form == "values" and bool(field.stored.dtype == np.uint8)
