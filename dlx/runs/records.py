"""Records of a run: the lines of `metrics.jsonl`, encoded and parsed.

A record is `{"record": "start" | "step" | "evaluation" | "end", "time": ..., ...}`; it is valid once its line has
ended. A step record has `train/running_loss`; the end record has `train/loss`, an evaluation of the final weights.
Runs from before 2026-11-28 call both `train/loss`, and there it is the running loss at the end, too.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from ..metrics import RUNNING_LOSS
from ..utils import json_documents
from ..utils.json_documents import nonfinite_as_words

RunRecord = dict[str, Any]

RECORDS = "metrics.jsonl"
LOSS = "train/loss"
TAIL_BYTES = 1 << 14
"""Bytes read from the end of a file to find its last line, at first."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encode(record: RunRecord) -> bytes:
    """Return the line of a record; infinities and NaN as strings."""
    try:
        text = _ENCODER.encode(record)
    except ValueError:  # JSON has no NaN; only a record with one pays for a copy that spells it out
        text = _ENCODER.encode(nonfinite_as_words(record))
    return text.encode() + b"\n"


def parse(line: bytes) -> RunRecord | None:
    """Parse the record of a line, its metrics as floats; None where the line holds none."""
    try:
        record = json_documents.loads(line)
        return _checked(record) if isinstance(record, dict) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def is_record(value: object) -> bool:
    """Whether a value is a record as dlx writes them."""
    return isinstance(value, dict) and parse(json.dumps(value).encode()) is not None


def last_line(path: Path) -> tuple[bytes, int]:
    """Return the last line that has ended (empty if none has), and its end as an offset in bytes."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        length = TAIL_BYTES
        # the curve of a long training has many megabytes, and every status of a run asks for its last line
        while True:
            start = max(0, size - length)
            handle.seek(start)
            tail = handle.read(size - start)
            end = tail.rfind(b"\n") + 1
            begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
            if start == 0 or (end and begin):
                return tail[begin:end], start + end
            length *= 4


def has_old_loss_name(record: RunRecord) -> bool:
    """Whether it is a point of the loss curve as runs from before 2026-11-28 have it."""
    return record["record"] == "step" and LOSS in record["metrics"]


def with_current_names(metrics: dict[str, float]) -> dict[str, float]:
    """Rename the metrics of a step record of an older run: its `train/loss` is the running loss."""
    return {RUNNING_LOSS if name == LOSS else name: value for name, value in metrics.items()}


def _checked(record: RunRecord) -> RunRecord:
    """Convert the figures of a record to numbers. Raises any kind of error for a record that dlx does not write."""
    kind, known = record["record"], {"step": _count, "seconds": json_documents.number, "epoch": json_documents.number}
    record["time"] = _finite(record["time"])
    record |= {name: read(record[name]) for name, read in known.items() if name in record}
    if kind in {"step", "evaluation", "end"}:
        record["step"] = _count(record["step"])
        record["metrics"] = {str(name): json_documents.number(v) for name, v in record["metrics"].items()}
    if kind == "end":
        record["status"] = _text(record["status"])
        if record.get("best") is not None:
            record["best"]["value"] = json_documents.number(record["best"]["value"])
        for checkpoint in record.get("kept") or []:
            name, step = _text(checkpoint["name"]), _count(checkpoint["step"])
            checkpoint |= {"name": name, "step": step, "value": json_documents.number(checkpoint["value"])}
    return record


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: object) -> int:
    if not json_documents.is_count(value):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _finite(value: Any) -> float:
    if not math.isfinite(json_documents.number(value)):
        raise ValueError(f"{value!r} is no moment")
    return float(value)
