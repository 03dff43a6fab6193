"""The record of a run's inputs, `inputs.safetensors`, with which its network can be used without the data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, DlxError, RunError
from ..lazy import np
from ..shapes import Shape
from ..utils import files, safetensors_header
from ..utils.json_documents import loads
from .base import Dataset, Facts, Field, Sets, TextFacts
from .preprocess import PREPROCESSING, Fitted, applied, as_float32

if TYPE_CHECKING:
    from .base import Floats, Values
    from .new_inputs import NewInputs

FILE = "inputs.safetensors"


@dataclass(frozen=True)
class InputRecord:
    """Record of how raw inputs become inputs of the network, and of the meaning of its outputs.

    Attributes:
        raw: shape of an input before preprocessing.
        facts: shapes of inputs and targets.
        inputs: shapes of the network's inputs by name.
        class_names: names of the classes, where known.
        steps: fitted preprocessing steps.
        reading: JSON values needed to read later inputs, such as the categories of a table.
        targets: what the objective needs to know of the training targets, such as their mean.
    """

    raw: Shape
    facts: Facts
    inputs: Mapping[str, Shape]
    class_names: tuple[str, ...] = ()
    steps: tuple[Fitted, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    taken: tuple[str, ...] = ("input",)
    """The fields that the network takes, in the order of its inputs."""
    raw_more: Mapping[str, Shape] = field(default_factory=dict)
    """Shapes of further inputs before preprocessing, by name."""
    steps_more: Mapping[str, tuple[Fitted, ...]] = field(default_factory=dict)
    """Fitted preprocessing steps of further inputs, by name."""

    @property
    def fields(self) -> dict[str, str]:
        """The field that each input of the network takes."""
        return dict(zip(self.inputs, self.taken, strict=True))

    targets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Columns that new inputs have, those of texts among them; empty for inputs that are arrays."""
        values = [str(one["name"]) for one in self.reading.get("columns", ())]
        return list(dict.fromkeys([*values, *self.text_columns.values()]))

    @property
    def text_columns(self) -> dict[str, str]:
        """The column of each input that is a text, by its field."""
        return {str(name): str(column) for name, column in self.reading.get("text_columns", {}).items()}

    @property
    def arrays(self) -> dict[str, Shape]:
        """The arrays that new inputs are, before preprocessing, by field, where they are no columns.

        What is shifted from a target is none: nothing of a text has been written yet.
        """
        texts = self.facts.texts
        every = {self.facts.input_name: self.raw, **self.raw_more}
        return {name: one for name, one in every.items() if name not in texts or not texts[name].shifted}

    def prepared(self, x: Values) -> Floats:
        """Preprocess raw inputs (n, *raw), with the statistics of the training part."""
        prepared: Floats = _as(self.facts.input, applied(self.steps, x))
        return prepared

    def at(self, raw: Shape) -> InputRecord:
        """Return the record for main inputs of another size, without those of the network. DataError where a step of
        the preprocessing has statistics of each position.
        """
        if raw == self.raw:
            return self
        x = np.zeros((1, *raw), np.float32)
        for step in self.steps:
            try:
                x = applied((step,), x)
            except ValueError:
                kind = step.step.kind
                message = f"the inputs have the shape {raw}, and `{kind}` was fitted to each value of {self.raw}"
                raise DataError(message, hint=f"Give inputs of shape {self.raw}.") from None
        facts = replace(self.facts, input=Shape(x.shape[1:], self.facts.input.dtype))
        return replace(self, raw=raw, facts=facts)

    def all_prepared(self, new: NewInputs) -> tuple[Values, ...]:
        """Preprocess all raw inputs, and return them in the order of the network's inputs."""
        if not self.raw_more:
            return (self.prepared(new.x),)
        fields = {self.facts.input_name: self.prepared(new.x)}
        for name, x in new.more.items():
            fields[name] = _as(self.raw_more[name], applied(self.steps_more.get(name, ()), x))
        return tuple(fields[name] for name in self.taken)


def _as(shape: Shape, x: Any) -> Any:
    """Return floats as float32, and integers and truth values as they are."""
    return as_float32(x) if shape.dtype == "float" else x


def of(data: Dataset, sets: Sets, inputs: Mapping[str, Shape], taken: Sequence[str] = ()) -> InputRecord:
    """Return the record of a data set that was loaded; `taken` are the fields of the network's inputs."""
    facts = data.facts()
    steps = "preprocess" in type(data).model_fields and (sets.preprocess or sets.preprocess_more)
    # The facts of a source are those after preprocessing; without its steps they are those of raw inputs
    raw = data.model_copy(update={"preprocess": []}).facts() if steps else facts
    more = {name: one.shape for name, one in raw.inputs.items() if name != raw.input_name}
    first = InputRecord(raw.input, facts, inputs, sets.class_names, sets.preprocess, sets.reading)
    taken = tuple(taken) or tuple(facts.inputs)
    return replace(first, taken=taken, raw_more=more, steps_more=dict(sets.preprocess_more))


def save(folder: Path, record: InputRecord) -> None:
    """Write the record to one file: statistics as float64 tensors, everything else as JSON in the header."""
    from safetensors.numpy import save as to_bytes

    header: dict[str, Any] = {
        "raw": list(record.raw),
        "facts": _facts_as_json(record.facts),
        "inputs": {name: _shape_as_json(shape) for name, shape in record.inputs.items()},
        "class_names": list(record.class_names),
        "steps": _steps_as_json(record.steps),
        "reading": dict(record.reading),
        "targets": dict(record.targets),
    }
    if record.raw_more:
        header["taken"] = list(record.taken)
        header["more"] = {name: _shape_as_json(shape) for name, shape in record.raw_more.items()}
        header["steps_more"] = {name: _steps_as_json(steps) for name, steps in record.steps_more.items()}
    arrays = {
        f"{prefix}{i}/{name}": np.ascontiguousarray(values, np.float64)
        for prefix, steps in {"": record.steps, **{f"{n}/": steps for n, steps in record.steps_more.items()}}.items()
        for i, one in enumerate(steps)
        for name, values in one.found.items()
    }
    try:
        files.replace(folder / FILE, to_bytes(arrays, {"about": json.dumps(header)}))
    except OSError as error:
        raise RunError(f"{folder / FILE} cannot be written: {(error.strerror or str(error)).lower()}") from error


def input_shapes(folder: Path) -> dict[str, Shape] | None:
    """Return the shapes of a network's inputs without the statistics, which take NumPy; None without a record."""
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    with understood(folder):
        about = loads(safetensors_header.metadata(path)["about"].encode())
        return {name: _shape(one) for name, one in about["inputs"].items()}


def reading_of(folder: Path) -> dict[str, Any]:
    """Return what a run recorded to read later inputs; empty without a record, or where it is damaged."""
    try:
        return dict(loads(safetensors_header.metadata(folder / FILE)["about"].encode())["reading"])
    except (DlxError, OSError, ValueError, KeyError, TypeError):
        return {}


def load(folder: Path) -> InputRecord | None:
    """Read the record of a run folder; None for runs of older versions. DataError where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not os.path.lexists(path):
        return None
    try:
        with safe_open(files.regular(path), framework="numpy") as file:
            document = loads(file.metadata()["about"].encode())
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=ANEW) from None
    with understood(folder):
        facts = _facts(document["facts"])
        more = document.get("steps_more", {})
        return InputRecord(
            Shape(document["raw"], facts.input.dtype),
            facts,
            {name: _shape(one) for name, one in document["inputs"].items()},
            tuple(map(str, document["class_names"])),
            tuple(_step(one, f"{i}/", arrays) for i, one in enumerate(document["steps"])),
            dict(document["reading"]),
            tuple(map(str, document.get("taken", facts.inputs))),
            {name: _shape(one) for name, one in document.get("more", {}).items()},
            {n: tuple(_step(one, f"{n}/{i}/", arrays) for i, one in enumerate(steps)) for n, steps in more.items()},
            dict(document.get("targets", {})),
        )


def _facts_as_json(facts: Facts) -> dict[str, Any]:
    first: dict[str, Any] = {"input": list(facts.input), "classes": facts.classes, "target": _sizes(facts.target)}
    if facts.input.dtype != "float":
        first["dtype"] = facts.input.dtype
    if facts.vocabulary is not None:
        first["vocabulary"] = facts.vocabulary
    if facts.texts:
        first["texts"] = {name: asdict(text) for name, text in facts.texts.items()}
    if not facts.more and (facts.input_name, facts.target_name) == ("input", "target"):
        return first
    more = {
        name: {**_shape_as_json(one.shape), "role": one.role, "classes": one.classes, "names": list(one.names)}
        for name, one in facts.more.items()
    }
    names = [facts.input_name, facts.target_name]
    return first | {"names": names, "more": more, "class_names": list(facts.class_names)}


def _facts(saved: Mapping[str, Any]) -> Facts:
    names, target = saved.get("names", ["input", "target"]), saved["target"]
    more = {
        name: Field(_shape(one), one["role"], one["classes"], tuple(map(str, one["names"])))
        for name, one in saved.get("more", {}).items()
    }
    return Facts(
        Shape(saved["input"], saved.get("dtype", "float")),
        saved["classes"],
        None if target is None else Shape(target),
        more=more,
        input_name=str(names[0]),
        target_name=str(names[1]),
        class_names=tuple(map(str, saved.get("class_names", ()))),
        vocabulary=saved.get("vocabulary"),
        texts={n: TextFacts(tuple(one["names"]), one["shifted"]) for n, one in saved.get("texts", {}).items()},
    )


def _shape_as_json(shape: Shape) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": shape.dtype}


def _shape(saved: Mapping[str, Any]) -> Shape:
    return Shape(saved["shape"], saved["dtype"])


def _steps_as_json(steps: Sequence[Fitted]) -> list[dict[str, Any]]:
    return [{"kind": one.step.kind, "options": one.step.model_dump(mode="json")} for one in steps]


ANEW = "Take it away: the data then says it anew."


@contextmanager
def understood(folder: Path) -> Iterator[None]:
    """Context in which errors become a DataError that the record does not belong to the run's data."""
    try:
        yield
    except DlxError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        message = f"{folder / FILE} is damaged, or of another run: {reason}"
        raise DataError(message, hint=ANEW) from error


def _step(saved: Mapping[str, Any], first: str, arrays: Mapping[str, Any]) -> Fitted:
    """Restore a fitted step, whose statistics have the prefix `first`.

    Options that only the fit needed, such as those of a table's step, are dropped.
    """
    cls = PREPROCESSING[saved["kind"]]
    options = {name: value for name, value in saved["options"].items() if name in cls.model_fields}
    found = {name.removeprefix(first): values for name, values in arrays.items() if name.startswith(first)}
    return Fitted(cls.model_validate(options), found)


def _sizes(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)
