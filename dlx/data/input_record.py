"""The record of a run's inputs, `inputs.safetensors`, with which its network can be used without the data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, DlxError, RunError
from ..lazy import np
from ..shapes import Shape
from ..utils import files
from ..utils.json_documents import loads
from .base import Dataset, Facts, Sets
from .preprocess import PREPROCESSING, Fitted, as_float32

if TYPE_CHECKING:
    from .base import Floats, Values

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
    """

    raw: Shape
    facts: Facts
    inputs: Mapping[str, Shape]
    class_names: tuple[str, ...] = ()
    steps: tuple[Fitted, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    def prepared(self, x: Values) -> Floats:
        """Preprocess raw inputs (n, *raw), with the statistics of the training part."""
        for step in self.steps:
            x = step(x)
        prepared: Floats = as_float32(x)
        return prepared


def of(data: Dataset, sets: Sets, inputs: Mapping[str, Shape]) -> InputRecord:
    """Return the record of a data set that was loaded."""
    facts = data.facts()
    steps = "preprocess" in type(data).model_fields and sets.preprocess
    # The facts of a source are those after preprocessing; without its steps they are those of raw inputs
    raw = data.model_copy(update={"preprocess": []}).facts().input if steps else facts.input
    return InputRecord(raw, facts, inputs, sets.class_names, sets.preprocess, sets.reading)


def save(folder: Path, record: InputRecord) -> None:
    """Write the record to one file: statistics as float64 tensors, everything else as JSON in the header."""
    from safetensors.numpy import save as to_bytes

    header = {
        "raw": list(record.raw),
        "facts": {
            "input": list(record.facts.input),
            "classes": record.facts.classes,
            "target": _sizes(record.facts.target),
        },
        "inputs": {name: {"shape": list(shape), "dtype": shape.dtype} for name, shape in record.inputs.items()},
        "class_names": list(record.class_names),
        "steps": [{"kind": one.step.kind, "options": one.step.model_dump(mode="json")} for one in record.steps],
        "reading": dict(record.reading),
    }
    arrays = {
        f"{i}/{name}": np.ascontiguousarray(values, np.float64)
        for i, one in enumerate(record.steps)
        for name, values in one.found.items()
    }
    try:
        files.replace(folder / FILE, to_bytes(arrays, {"about": json.dumps(header)}))
    except OSError as error:
        raise RunError(f"{folder / FILE} cannot be written: {(error.strerror or str(error)).lower()}") from error


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
        facts, target = document["facts"], document["facts"]["target"]
        return InputRecord(
            Shape(document["raw"]),
            Facts(Shape(facts["input"]), facts["classes"], None if target is None else Shape(target)),
            {name: Shape(one["shape"], one["dtype"]) for name, one in document["inputs"].items()},
            tuple(map(str, document["class_names"])),
            tuple(_step(one, i, arrays) for i, one in enumerate(document["steps"])),
            dict(document["reading"]),
        )


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


def _step(saved: Mapping[str, Any], place: int, arrays: Mapping[str, Any]) -> Fitted:
    """Restore a fitted step. Options that only the fit needed, such as those of a table's step, are dropped."""
    cls = PREPROCESSING[saved["kind"]]
    options = {name: value for name, value in saved["options"].items() if name in cls.model_fields}
    first = f"{place}/"
    found = {name.removeprefix(first): values for name, values in arrays.items() if name.startswith(first)}
    return Fitted(cls.model_validate(options), found)


def _sizes(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)
