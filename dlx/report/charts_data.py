"""Rows as data of Vega-Lite: CSV, a fourth of the size of objects."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

Json = dict[str, Any]


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], types: dict[str, str]) -> Json:
    """Return rows as data of Vega-Lite; an empty cell is a missing value."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return {"values": text.getvalue(), "format": {"type": "csv", "parse": types}}
