"""How a run came about, `origin.json`: the overrides of its spec, and the runs that are trained with it.

overrides   values by key, as the command had them: {"train.epochs": 3, "~init": null}
group       runs that differ in the seed alone, or the ensemble that a run is a member of

{"kind": "seeds", "count": 3, "runs": ["digits/20261130-034433-3fa9", ...]}
{"kind": "members", "of": "digits/20261130-034430-11c2"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import DlxError
from ..utils import json_documents
from .folder import RunFolder

ORIGIN = "origin.json"
SEEDS = ("train.seed", "train.seeds")
"""Keys that the group of a run has in place of its overrides."""


@dataclass(frozen=True)
class Group:
    """Runs of one command that belong together."""

    kind: Literal["seeds", "members"]
    count: int = 0
    """Number of seeds; some of their runs may not have begun."""
    runs: tuple[str, ...] = ()
    """Keys of the runs that have begun, in the order of the seeds."""
    of: str = ""
    """Key of the ensemble, of a member."""


def overrides_of(run: RunFolder) -> dict[str, Any]:
    """Return the overrides of a run by key; empty for one without, or of an older version. DlxError where damaged."""
    found = run.read_json(ORIGIN).get("overrides", {})
    if not isinstance(found, dict):
        raise _damaged(run, "overrides")
    return found


def group_of(run: RunFolder) -> Group | None:
    """Return the group that a run belongs to; None for a run by itself. DlxError where damaged."""
    found = run.read_json(ORIGIN).get("group")
    match found:
        case None:
            return None
        case {"kind": "seeds", "count": int(count), "runs": [*runs]} if all(isinstance(key, str) for key in runs):
            return Group("seeds", count, tuple(runs))
        case {"kind": "members", "of": str(ensemble)}:
            return Group("members", of=ensemble)
    raise _damaged(run, "group")


def record_overrides(run: RunFolder, overrides: Mapping[str, Any]) -> None:
    """Write the overrides of a new run."""
    if overrides:
        run.write_json(ORIGIN, run.read_json(ORIGIN) | {"overrides": dict(overrides)})


def record_seeds(runs: Sequence[RunFolder], count: int) -> None:
    """Write to each of the runs that have begun that they are of one group of `count` seeds."""
    group = {"kind": "seeds", "count": count, "runs": [run.key for run in runs]}
    for run in runs:
        known = run.read_json(ORIGIN)
        own = {key: value for key, value in known.get("overrides", {}).items() if key not in SEEDS}
        run.write_json(ORIGIN, {**({"overrides": own} if own else {}), "group": group})


def record_member(run: RunFolder, ensemble: RunFolder) -> None:
    """Write to a run that it is a member of an ensemble."""
    run.write_json(ORIGIN, run.read_json(ORIGIN) | {"group": {"kind": "members", "of": ensemble.key}})


def _damaged(run: RunFolder, key: str) -> DlxError:
    message = f"{run.dir / ORIGIN} is damaged: `{key}` is not what dlx writes there"
    return DlxError(message, hint=json_documents.ALTERED)
