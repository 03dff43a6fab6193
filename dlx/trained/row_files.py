"""Rows of results as files of tables: .csv, .parquet and .jsonl."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ..data.passthrough import as_parquet
from ..errors import DlxError, RunError
from ..utils import files
from ..utils.json_documents import dumps

Rows = Sequence[Sequence[Any]]


def as_csv(titles: Sequence[str], rows: Rows) -> bytes:
    """Return a CSV file with a line of titles."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([titles, *rows])
    return text.getvalue().encode()


def rows_as_parquet(titles: Sequence[str], rows: Rows) -> bytes:
    """Return a parquet file; each column has values of one type."""
    return as_parquet({title: [row[i] for row in rows] for i, title in enumerate(titles)})


def as_json_lines(titles: Sequence[str], rows: Rows) -> bytes:
    """Return a JSON object a row."""
    return "".join(f"{dumps(dict(zip(titles, row, strict=True)))}\n" for row in rows).encode()


FORMS = {".csv": as_csv, ".parquet": rows_as_parquet, ".jsonl": as_json_lines}


def check_suffix(path: Path) -> None:
    """Raise DlxError for a suffix of no form of rows."""
    if path.suffix not in FORMS:
        ends = f"{path} ends in {path.suffix or 'nothing'}"
        raise DlxError(ends, hint=f"Rows are written to {', '.join(FORMS)}.")


def write_rows(path: Path, titles: Sequence[str], rows: Rows) -> None:
    """Write rows in the form of the suffix. DlxError for another one."""
    check_suffix(path)
    write_whole(path, FORMS[path.suffix](titles, rows))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. RunError where that fails."""
    try:
        files.replace(path, data)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error
