"""The values of the specs of runs by key, and those in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..runs.folder import RunFolder
from ..spec.validation import shown
from ..utils.short_names import short_names
from .difference import EXCLUDED, spec_of_run

SEEDS = ("train.seed", "train.seeds")


def settings(run: RunFolder) -> dict[str, str]:
    """Return the values of the resolved spec of a run by their keys, without its seeds."""
    return settings_of(spec_of_run(run))


def settings_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a spec by their keys, without its seeds."""
    return {key: shown(value) for key, value in values_of_spec(spec).items() if key not in SEEDS}


def values_of_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a spec by their keys, without the sections on which no result depends."""
    return dict(leaves({key: value for key, value in spec.items() if key not in EXCLUDED}))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a spec, each with its key."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        for index, child in enumerate(value):
            yield from leaves(child, f"{path}.{index}")
    else:
        yield path, value


def differing(each: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return of each spec the values that are not those of all the others, by the shortest end of the key."""
    keys = list(dict.fromkeys(key for one in each for key in one))
    apart = [key for key in keys if len({one.get(key) for one in each}) > 1]
    names = short_names(apart)
    return [{names[key]: one[key] for key in apart if key in one} for one in each]
