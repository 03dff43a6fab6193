"""Hand over weights between trials, each at another point: the exploit step of population-based training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..experiment.session import describe, job_of
from ..runs.folder import RunFolder
from ..training.checkpoints import training_state
from ..training.prepared import prepare
from .study import run_name

if TYPE_CHECKING:
    from .schedulers import Exploit
    from .search import Search


def hand_over_weights(search: Search, exploits: Mapping[int, Exploit], rung: int) -> dict[int, dict[str, Any]]:
    """Create new runs, each with the state of another at this rung, and return them for the journal.

    Trials whose new point is refused, or whose source has no state at the rung, go on as they were.
    """
    records = {}
    for number, exploit in sorted(exploits.items()):
        made = search.candidate(exploit.point)
        source = search.study.trials[exploit.source]
        if isinstance(made, str) or not _states_exist(search.plan.runs, source.runs, rung):
            continue
        runs = {
            seed: f"{search.plan.base.name}/{run_name(f'{one.resolved()}# from {source.runs[seed]} at {rung}')}"
            for seed, one in made.experiments.items()
        }
        for seed, key in runs.items():
            run = RunFolder(search.plan.runs / key)
            prepared = prepare(made.experiments[seed], made.graphs, search.trainer.sets)
            (run.dir / "checkpoints").mkdir(parents=True, exist_ok=True)
            describe(run, prepared)
            job = job_of(prepared)
            training_state.transfer_state(
                _checkpoints(search.plan.runs, source.runs[seed]), run.dir / "checkpoints", rung, job
            )
        records[number] = {
            "from": exploit.source,
            "point": exploit.point,
            "runs": {str(s): k for s, k in runs.items()},
        }
    return records


def _checkpoints(runs: Path, key: str) -> Path:
    return runs / key / "checkpoints"


def _states_exist(runs: Path, keys: Mapping[int, str], rung: int) -> bool:
    """Whether each of these runs has its state at a rung: one that ended early has none."""
    try:
        return all(training_state.exists_at(_checkpoints(runs, key), rung) for key in keys.values())
    except DlxError:
        return False
