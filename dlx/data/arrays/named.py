"""Data of named fields from arrays: its facts, its parts, and inputs that come after training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, did_you_mean
from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets, Split, facts_of_fields
from ..file_reading import check_memory
from ..new_inputs import NewInputs, shaped
from ..preprocess import shape_after
from ..python_inputs import INPUTS, FieldInputs
from ..read_once import facts_once, taken
from .fields import choices, describe, exists, field_of, files_of, parts_of, read, uses

if TYPE_CHECKING:
    from ..base import Values
    from ..input_record import InputRecord
    from .arrays import Arrays


def check_named(source: Arrays) -> None:
    """Raise a ValueError where fields of a name contradict each other, or the options for an `x` and a `y`."""
    if source.unlabelled:
        _check_unlabelled(source)
    said = {"task": "`targets: {y: {array: y, is: values}}`"}
    said |= {"x": "`inputs`"} if source.inputs is not None else {}
    said |= {"y": "`targets`"} if isinstance(source.targets, dict) else {}
    said |= {
        f"{part}_{name}": f"the array `{part}_NAME` of each field" for part in ("valid", "test") for name in "xy"
    }
    for name, instead in said.items():
        if name in source.model_fields_set:
            raise ValueError(
                f"`{name}` is of one input and one target, and here fields have names: {instead} says it"
            )
    targets: Mapping[str, Any] = source.targets if isinstance(source.targets, dict) else {"target": ""}
    targets = {} if source.unlabelled else targets
    if source.targets is not None and not isinstance(source.targets, dict):
        raise ValueError("`targets` is a file, and beside named fields it is a mapping: `targets: {y: y.npy}`")
    if source.stream is True:
        raise ValueError("`stream: true` is for one input and one target, and fields have names here: leave it out")
    names = [*(source.inputs if source.inputs is not None else ("input",)), *targets]
    names += ["weight"] * (source.weights is not None) + ["id"] * (source.ids is not None)
    for name in names:
        if not name.isidentifier():
            raise ValueError(f"a field cannot be called `{name}`: letters, digits and `_`")
        if names.count(name) > 1:
            raise ValueError(f"two fields are called `{name}`: give each a name of its own")


def _check_unlabelled(source: Arrays) -> None:
    """Raise a ValueError where options of targets stand beside `target: null`."""
    for name in ("targets", "y", "valid_y", "test_y", "task", "stratify", "label_noise", "labelled"):
        if name in source.model_fields_set and getattr(source, name):
            raise ValueError(f"`{name}` is of targets, and `target: null` has none: leave one of the two out")
    if source.stream is True:
        raise ValueError("`stream: true` reads inputs with their targets, and `target: null` has none: leave it out")


def named_facts(source: Arrays) -> Facts:
    """Return the facts of named fields; arrays of class numbers are read, once for the same files."""
    return facts_once(source, files_of(source), lambda: _read_facts(source))


def _read_facts(source: Arrays) -> tuple[Facts, dict[str, dict[str, Any]]]:
    """Return the facts of named fields, and the arrays of class numbers by part and field."""
    parts = parts_of(source)
    classes = {
        part: {one.name: read(one, source) for one in each if one.form == "classes"} for part, each in parts.items()
    }
    arrays = {name: np.concatenate([classes[part][name] for part in parts]) for name in classes["train"]}
    examples, *_ = source.part_sizes(parts["train"][0].stored.sizes[0])
    found = describe(parts["train"], arrays, source)
    for name, one in found.items():
        if one.role == "input" and one.shape.dtype == "float":
            found[name] = replace(one, shape=shape_after(source.preprocess, one.shape))
    return facts_of_fields(found, columns=uses(parts, source), examples=examples), classes


def load_named(source: Arrays) -> Sets:
    """Load all parts of named fields."""
    facts, parts = named_facts(source), parts_of(source)
    known = taken(source, files_of(source)) or {}
    count = sum(fields[0].stored.sizes[0] for fields in parts.values())
    values = Shape((sum(prod(one.stored.sizes[1:]) for one in parts["train"]),))
    check_memory(count, values, "keep fewer examples in the file")
    made = {}
    for part, fields in parts.items():
        there = known.get(part, {})
        more = {one.name: there[one.name] if one.name in there else read(one, source) for one in fields}
        y = more.pop(facts.target_name) if facts.targets else np.zeros((fields[0].stored.sizes[0], 0), np.float32)
        made[part] = Split(more.pop(facts.input_name), y, more=more)
    splits = dict(zip(("train", "valid", "test"), source.split_fields(made.pop("train")), strict=True)) | made
    return source.assembled(list(splits.values()), f"{source.source} {source.path}", fields=facts.fields)


def named_inputs(source: Arrays, path: Path, record: InputRecord) -> NewInputs:
    """Return the inputs of a file like the one that was trained on, named by its ids where it has some."""
    other = source.model_copy(update={"path": path})
    inputs, names = {}, tuple[str, ...]()
    wanted = {record.facts.input_name: record.raw, **record.raw_more}
    for name, (role, one) in choices(source).items():
        if role == "input":
            inputs[name] = shaped(read(field_of(other, name, role, one, ""), source), wanted[name], path)
        elif role == "id" and exists(other, "", one.array):
            names = tuple(map(str, read(field_of(other, name, role, one, ""), source)))
    return NewInputs(inputs.pop(record.facts.input_name), names, inputs)


def fields_from_memory(source: Arrays, inputs: FieldInputs, record: InputRecord) -> NewInputs:
    """Return inputs from memory by the names of their fields; `id` names the examples.

    Raises:
        DataError: an input is missing, there is one that the network does not take, or their lengths differ.
    """
    wanted = {record.facts.input_name: record.raw, **record.raw_more}
    known = ", ".join(f"`{name}`" for name in wanted)
    if lacking := [name for name in wanted if name not in inputs.arrays]:
        raise DataError(f"the inputs lack `{lacking[0]}`, and the network takes {known}", hint="Give all of them.")
    if strange := [name for name in inputs.arrays if name not in (*wanted, "id")]:
        message = f"the network takes no input `{strange[0]}`: it takes {known}"
        raise DataError(message, hint=did_you_mean(strange[0], wanted))
    found = {
        name: shaped(_plain(source, name, inputs.arrays[name], raw), raw, _named(name))
        for name, raw in wanted.items()
    }
    ids = tuple(map(str, inputs.arrays["id"])) if "id" in inputs.arrays else ()
    counts = {name: len(x) for name, x in found.items()} | ({"id": len(ids)} if ids else {})
    if other := next((name for name, count in counts.items() if count != len(found[record.facts.input_name])), None):
        message = f"`{record.facts.input_name}` holds {len(found[record.facts.input_name]):,} examples, and `{other}`"
        raise DataError(f"{message} {counts[other]:,}", hint="Give arrays of the same examples.")
    return NewInputs(found.pop(record.facts.input_name), ids, found)


def _named(name: str) -> Path:
    return Path(f"`{name}` of {INPUTS}")


def _plain(source: Arrays, name: str, values: Values, raw: Shape) -> Values:
    """Return the values of an input as a batch has them: a single example gets an axis of one."""
    if source.channels == "first" and tuple(values.shape) == tuple(raw):
        values = values[None]
    if raw.dtype == "float":
        return source.plain(values, str(_named(name)))
    if values.dtype.kind not in ("b" if raw.dtype == "bool" else "iu"):
        raise DataError(f"{_named(name)} holds {values.dtype}, and it was trained on {raw.dtype}")
    return values if values.ndim > 1 else values[:, None]
