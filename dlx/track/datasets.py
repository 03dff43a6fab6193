"""The data of a run as MLflow's datasets: one for each part, with columns and types, or with shapes and dtypes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..layers.measure import DTYPES
from ..lazy import np
from . import content

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from ..data.base import Field
    from ..data.input_record import InputRecord

PARTS = {"train": "training", "valid": "validation", "test": "test"}
"""Parts of the data, and what MLflow's `mlflow.data.context` says of each."""
TYPES = {"number": "double", "boolean": "boolean", "date": "datetime"}
"""MLflow's types of columns by their sort; those of all others are texts."""


def datasets(lock: Mapping[str, Any], record: InputRecord | None) -> list[DatasetInput]:
    """Return the parts of the data in a lock as inputs of a run; `record` is what the run knows of its inputs.

    MLflow knows a dataset by name and digest, so each part has a name of its own.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = lock.get("data")
    if not isinstance(data, dict) or "kind" not in data:
        return []
    digest = str(data.get("digest", "")).rpartition(":")[2]
    source = json.dumps({"kind": data["kind"], "source": data.get("source"), "digest": digest})
    schema = json.dumps(schema_of(record)) if record is not None else None
    found = []
    for part, context in PARTS.items():
        if isinstance(count := data.get(part), int):
            name = content.cut(f"{data['kind']} {part}", content.KEY)
            short = digest[: content.DIGEST] or "unknown"
            one = Dataset(name, short, "dlx", source, schema, json.dumps({"num_rows": count}))
            found.append(DatasetInput(one, [InputTag("mlflow.data.context", context)]))
    return found


def schema_of(record: InputRecord) -> dict[str, Any]:
    """Return the schema of one example before preprocessing, as MLflow has it of tables and of arrays."""
    columns = record.reading.get("columns")
    return _of_columns(columns, record) if columns else _of_arrays(record)


def _of_columns(columns: Iterable[Mapping[str, Any]], record: InputRecord) -> dict[str, Any]:
    from mlflow.types import ColSpec, DataType, Schema

    specs: list[Any] = [ColSpec(DataType[TYPES.get(one["sort"], "string")], one["name"]) for one in columns]
    fields = list(record.facts.targets.values())
    for name, of in zip(record.reading.get("told", ()), fields, strict=False):
        specs.append(ColSpec(DataType.double if of.classes is None else DataType.string, str(name)))
    return {"mlflow_colspec": Schema(specs).to_dict()}


def _of_arrays(record: InputRecord) -> dict[str, Any]:
    inputs = {
        name: (record.raw if name == record.facts.input_name else record.raw_more.get(name, one.shape))
        for name, one in record.facts.inputs.items()
    }
    features = {name: (tuple(shape), shape.dtype) for name, shape in inputs.items()}
    targets = {name: _target(one) for name, one in record.facts.targets.items()}
    return {
        "mlflow_tensorspec": {
            "features": _tensors(features),
            "targets": _tensors(targets) if targets else None,
        }
    }


def _target(field: Field) -> tuple[tuple[int, ...], str]:
    return tuple(field.shape), "int" if field.classes is not None else field.shape.dtype


def _tensors(arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    from mlflow.types import Schema, TensorSpec

    named = len(arrays) > 1
    specs: list[Any] = [
        TensorSpec(np.dtype(DTYPES[dtype]), (-1, *shape), name if named else None)
        for name, (shape, dtype) in arrays.items()
    ]
    return str(Schema(specs).to_json())
