"""JSON documents: numbers that are not finite are written as words, and malformed files end in one sentence."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, TextIO, TypeGuard

from ..errors import DlxError
from . import files

DEEPEST = 100
"""Most levels of nesting of a document; those of dlx have about ten."""
LARGEST = 1 << 28
"""Most bytes of a document that is read."""


ALTERED = "The file is torn or was altered."


stdout: TextIO | None = None
"""Where documents go, where all else that is printed goes to stderr."""


def write(value: Any) -> None:
    """Write a value to stdout, as one JSON document."""
    (stdout or sys.stdout).write(dumps(value, indent=2) + "\n")


def nonfinite_as_words(value: Any) -> Any:
    """Copy a value with `nan`, `inf` and `-inf` as words: JSON has no such numbers (RFC 8259, section 6)."""
    if isinstance(value, dict):
        return {key: nonfinite_as_words(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [nonfinite_as_words(child) for child in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def dumps(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON, numbers that are not finite as words."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(nonfinite_as_words(value), indent=indent, allow_nan=False)


def loads(text: bytes) -> Any:
    """Parse a JSON text. ValueError where it is malformed or nested too deep."""
    try:
        value = json.loads(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON, {error}") from None
    # Few documents have that many brackets in all: the walk is for those that do.
    if text.count(b"[") + text.count(b"{") > DEEPEST and _deeper(value, DEEPEST):
        raise ValueError("it is nested too deep")
    return value


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more than `levels` levels, found without recursion."""
    level = [value]
    while level and levels >= 0:
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        levels -= 1
    return bool(level)


def read(path: Path) -> dict[str, Any]:
    """Read the object in a file; empty where there is no file. DlxError where the file holds anything else."""
    try:
        value = loads(files.read(path, LARGEST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DlxError(f"{path} cannot be read: {files.reason(error)}", hint=ALTERED) from error
    if not isinstance(value, dict):
        raise DlxError(f"{path} does not hold a JSON object", hint=ALTERED)
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is an integer or a float; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number of 0 and more; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def number(value: Any) -> float:
    """Return a number, also from its word `nan`, `inf` or `-inf`. ValueError for anything else."""
    if isinstance(value, str) and value in WORDS:
        return float(value)
    if is_number(value):
        return value
    raise ValueError(f"{value!r} is no number")


WORDS = ("nan", "inf", "-inf")
