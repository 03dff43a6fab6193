"""The shortest names by which keys of a spec are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest unique suffix of each key: `lr` for `train.optimizer.adam.lr`."""
    return {key: _tail(key, [other for other in keys if other != key]) for key in keys}


def _tail(key: str, others: Iterable[str]) -> str:
    parts = key.split(".")
    tails = (".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1))
    rest = [f".{other}" for other in others]
    return next((tail for tail in tails if not any(other.endswith(f".{tail}") for other in rest)), key)
