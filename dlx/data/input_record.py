"""What a run keeps of its data, so that its network can be used where the data is not: `inputs.safetensors`."""

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
    """How raw inputs become what the network is fed, and what its outputs are about.

    `raw` is the shape of an input before all steps, `inputs` the inputs of the network by name.
    """

    raw: Shape
    facts: Facts
    inputs: Mapping[str, Shape]
    class_names: tuple[str, ...] = ()
    steps: tuple[Fitted, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    def prepared(self, x: Values) -> Floats:
        """Raw inputs (n, *raw) after the steps, with the statistics of the training part."""
        for step in self.steps:
            x = step(x)
        prepared: Floats = as_float32(x)
        return prepared


def of(data: Dataset, sets: Sets, inputs: Mapping[str, Shape]) -> InputRecord:
    """What is to be kept of a data set that has been loaded."""
    facts = data.facts()
    steps = "preprocess" in type(data).model_fields and sets.preprocess
    raw = data.model_copy(update={"preprocess": []}).facts().input if steps else facts.input
    return InputRecord(raw, facts, inputs, sets.class_names, sets.preprocess, sets.reading)


def save(folder: Path, record: InputRecord) -> None:
    """All of it in one file: statistics in double precision, the rest as JSON in its header."""
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
    """What a run has kept; None where it is older than that. DataError where the file is torn."""
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
    """DataError where what a run has kept is not of its data, such as that of another run."""
    try:
        yield
    except DlxError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        message = f"{folder / FILE} is damaged, or of another run: {reason}"
        raise DataError(message, hint=ANEW) from error


def _step(saved: Mapping[str, Any], place: int, arrays: Mapping[str, Any]) -> Fitted:
    """A step with its statistics. Options that only its fitting wanted are left out."""
    cls = PREPROCESSING[saved["kind"]]
    options = {name: value for name, value in saved["options"].items() if name in cls.model_fields}
    first = f"{place}/"
    found = {name.removeprefix(first): values for name, values in arrays.items() if name.startswith(first)}
    return Fitted(cls.model_validate(options), found)


def _sizes(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)
