"""Average over replicates: folds and seeds among what varies are not chosen, so trials that differ in them are
averaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..spec.sections.expect import CLAIMING
from .trial import Point, Trial

REPLICATES = {"fold", "seed"}
"""Last words of such keys, under `data` and `train`."""


def is_replicate(key: str) -> bool:
    """Whether a key names a fold or a seed, such as `data.digits.fold` and `train.seed`."""
    first, *_, last = key.split(".") if "." in key else (key, "")
    return first in {"data", "train"} and last in REPLICATES


def replicate_keys_of(variable: str, spec: Mapping[str, Any]) -> list[str]:
    """Return the keys of folds and seeds that use a variable; none where something else uses it too."""
    keys = list(_users(variable.partition(".")[0], {k: v for k, v in spec.items() if k not in {"sweep", *CLAIMING}}))
    return keys if all(map(is_replicate, keys)) else []


def _users(variable: str, value: Any, above: str = "") -> Iterator[str]:
    """Yield the keys whose values mention a variable."""
    if isinstance(value, Mapping | list):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _users(variable, inner, f"{above}.{key}" if above else str(key))
    elif isinstance(value, str) and any(
        re.search(rf"\b{variable}\b", it) for it in re.findall(r"\$\{[^}]*\}", value)
    ):
        yield above


def replicate_keys(trials: Iterable[Trial]) -> list[str]:
    """Return the keys of folds and seeds that vary over trials."""
    return list(dict.fromkeys(key for trial in trials for key in trial.point if is_replicate(key)))


def averaged(trials: Sequence[Trial]) -> list[Trial]:
    """Return one trial for each point without its folds and seeds, with the figures of all its replicates.

    It has the number of the first of them. Replicates that have not finished are left out where one has.
    """
    keys = replicate_keys(trials)
    if not keys:
        return list(trials)
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(_written(_without_replicates(trial.point)), []).append(trial)
    draws: dict[str, int] = {}
    """Numbers of draws, equal for equal draws of two points, so that points are compared draw by draw."""
    return [_joined(group, draws) for group in groups.values()]


def _joined(group: Sequence[Trial], draws: dict[str, int]) -> Trial:
    counted = [trial for trial in group if trial.state == "finished"] or group
    made = Trial(
        group[0].number, _without_replicates(group[0].point), max(t.generation for t in group), counted[0].params, 0
    )
    made.macs, made.state, made.message = counted[0].macs, counted[0].state, counted[0].message
    made.seconds = sum(trial.seconds for trial in counted)
    last = max((max(trial.rungs, default=0) for trial in counted), default=0)
    for trial in counted:
        own = {key: value for key, value in trial.point.items() if is_replicate(key)}
        numbers = {seed: draws.setdefault(_written({**own, "": seed}), len(draws)) for seed in trial.runs}
        made.runs |= {numbers[seed]: run for seed, run in trial.runs.items()}
        made.steps |= {numbers[seed]: steps for seed, steps in trial.steps.items()}
        figures = trial.rungs[max(trial.rungs)] if trial.rungs else {}
        if figures:
            made.rungs.setdefault(last, {}).update({numbers[seed]: metrics for seed, metrics in figures.items()})
    return made


def _without_replicates(point: Point) -> Point:
    return {key: value for key, value in point.items() if not is_replicate(key)}


def _written(point: dict[str, Any]) -> str:
    return json.dumps(point, sort_keys=True, default=str)
