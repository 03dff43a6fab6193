"""Parquet and Arrow files, read by groups of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..file_reading import existing

SUFFIXES = (".parquet", ".arrow")


@dataclass(frozen=True)
class RowFile:
    """An open file: its pyarrow schema, the number of rows in each group, and access to its columns."""

    path: Path
    schema: Any
    counts: tuple[int, ...]
    column: Callable[[int, str], Any]
    """Reads a column, by the number of a group and its name."""
    table: Callable[[], Any]
    """Reads the whole table."""
    lacks: Callable[[int, str, str], bool]
    """Whether a group may lack values of a field of a column of structs, by the group's number and both names; told
    from the file's statistics where it has some."""


def opened(path: Path) -> RowFile:
    """Open a file: Arrow with the suffix .arrow, else parquet. DataError where its content is neither."""
    from pyarrow import ArrowException

    form = "Arrow" if path.suffix == ".arrow" else "parquet"
    try:
        return (_arrow if form == "Arrow" else _parquet)(existing(path, folder=False))
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {form}: {error}", hint="Fetch the file again.") from None


def _parquet(path: Path) -> RowFile:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    counts = tuple(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
    column = lambda group, name: file.read_row_group(group, columns=[name]).column(name)  # noqa: E731

    def lacks(group: int, name: str, field: str) -> bool:
        chunks = (file.metadata.row_group(group).column(i) for i in range(file.metadata.num_columns))
        found = [one.statistics for one in chunks if one.path_in_schema == f"{name}.{field}"]
        return any(one is None or not one.has_null_count or one.null_count > 0 for one in found)

    return RowFile(path, file.schema_arrow, counts, column, file.read, lacks)


def _arrow(path: Path) -> RowFile:
    """Map an Arrow stream, as `save_to_disk` writes it, or an Arrow file with an index, without a copy in memory."""
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(mapped).read_all()
    batches = table.to_batches()
    column = lambda group, name: batches[group].column(name)  # noqa: E731

    def lacks(group: int, name: str, field: str) -> bool:
        structs: Any = batches[group].column(name)
        return bool(structs.field(field).null_count)

    return RowFile(path, table.schema, tuple(batch.num_rows for batch in batches), column, lambda: table, lacks)


def row_files(folder: Path) -> list[Path]:
    """Return the parquet or Arrow files in a folder or its folder `data`; of a saved data set, those that it
    lists.
    """
    state = folder / "state.json"
    if state.is_file():
        try:
            return [folder / file["filename"] for file in json.loads(state.read_bytes())["_data_files"]]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{state} does not name the files of a data set", hint="Save it again.") from None
    found = (sorted(p for s in SUFFIXES for p in place.glob(f"*{s}")) for place in (folder, folder / "data"))
    return next((files for files in found if files), [])


def class_names(file: RowFile, label: str) -> tuple[str, ...]:
    """Return the class names from Hugging Face's description, in the file or beside it; empty where there is none."""
    beside = file.path.parent / "dataset_info.json"
    for inside in (True, False):
        try:
            if inside:
                features = json.loads((file.schema.metadata or {})[b"huggingface"])["info"]["features"]
            else:
                features = json.loads(beside.read_bytes())["features"]
            return tuple(map(str, features[label]["names"]))
        except (KeyError, TypeError, ValueError, OSError):
            continue
    return ()
