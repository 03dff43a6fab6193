"""What the environment variables of dlx say. One that says nothing that they take is an error, not passed over."""

from __future__ import annotations

import os
from math import nan

from ..errors import DlxError


def seconds(name: str, default: float, most: float) -> float:
    """Return the seconds in a variable, from 0 to `most`; the default where it is empty or not set."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        found = float(text)
    except ValueError:
        found = nan
    if not 0 <= found <= most:
        raise _error(name, f"seconds from 0 to {most:,.0f}")
    return found


def count(name: str, most: int) -> int | None:
    """Return the whole number in a variable, from 1 to `most`; None where it is empty or not set."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= most):
        raise _error(name, f"a whole number from 1 to {most:,}")
    return int(text)


def is_set(name: str, word: str) -> bool:
    """Whether a variable is the one word that it takes; it may be empty or not set."""
    text = os.environ.get(name, "").strip()
    if text not in {"", word}:
        raise _error(name, f"`{word}` alone")
    return bool(text)


def _error(name: str, takes: str) -> DlxError:
    text = os.environ[name]
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    hint = f"Change it, or `unset {name}`."
    return DlxError(f"the environment variable {name} takes {takes}, not `{shown}`", hint=hint)
