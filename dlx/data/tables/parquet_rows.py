"""Files of rows with columns, parquet and Arrow, read some rows at a time."""

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
    """An opened file: pyarrow's schema, how many rows each group of rows has, and a column of a group."""

    path: Path
    schema: Any
    counts: tuple[int, ...]
    column: Callable[[int, str], Any]
    """Of a group by its number, and of a name."""
    table: Callable[[], Any]
    """All of it."""


def opened(path: Path) -> RowFile:
    """DataError where it is not what its name says; a file that does not end in .arrow is read as parquet."""
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
    return RowFile(path, file.schema_arrow, counts, column, file.read)


def _arrow(path: Path) -> RowFile:
    """A stream as `save_to_disk` writes it, or a file with an index; it is mapped, and not copied into memory."""
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(mapped).read_all()
    batches = table.to_batches()
    column = lambda group, name: batches[group].column(name)  # noqa: E731
    return RowFile(path, table.schema, tuple(batch.num_rows for batch in batches), column, lambda: table)


def row_files(folder: Path) -> list[Path]:
    """The files of rows in a folder or in its folder `data`; of a saved data set those that it names itself."""
    state = folder / "state.json"
    if state.is_file():
        try:
            return [folder / file["filename"] for file in json.loads(state.read_bytes())["_data_files"]]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{state} does not name the files of a data set", hint="Save it again.") from None
    found = (sorted(p for s in SUFFIXES for p in place.glob(f"*{s}")) for place in (folder, folder / "data"))
    return next((files for files in found if files), [])


def class_names(file: RowFile, label: str) -> tuple[str, ...]:
    """The names of the classes where Hugging Face's description gives them, in the file or beside it."""
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
