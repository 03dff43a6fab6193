"""Numbers in texts."""

from __future__ import annotations


def as_number(text: str) -> float | None:
    """Return the number that a text is; None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None
