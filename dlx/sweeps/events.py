"""Events of a sweep, which its callback receives, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from .leaderboard import rank
from .plan import SweepPlan
from .study import Study
from .trial import Trial
from .workers.base import TrialOutcome

if TYPE_CHECKING:
    from ..track import Mirror

LISTED = 20
"""Rows of the leaderboard in the JSON document."""
Reason = Literal["finished", "budget", "interrupted"]


@dataclass(frozen=True)
class Opened:
    """A study was begun or continued."""

    plan: SweepPlan
    study: Study


@dataclass(frozen=True)
class Suggested:
    """Trials of a generation, and the number of points that were refused before them."""

    trials: Sequence[Trial]
    refused: int


@dataclass(frozen=True)
class TaskEnded:
    """A worker has brought a training to its rung, or failed; its trial as the journal has it."""

    trial: Trial
    outcome: TrialOutcome


@dataclass(frozen=True)
class Reported:
    """A trial has been recorded in the journal, at a rung or at its end."""

    trial: Trial


@dataclass(frozen=True)
class Stopped:
    """Trials that a scheduler has stopped."""

    trials: Sequence[Trial]
    step: int


@dataclass(frozen=True)
class Noted:
    """A note on the progress of the sweep."""

    text: str


Callback = Callable[[Any], None]


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep, and what the same command would do next."""

    study: Study
    reason: Reason
    seconds: float
    next: str = ""
    note: str = ""
    """Why the sweep ended before all trials were tried."""
    mirror: Mirror | None = None
    tracking: str = ""
    """State of the mirror to MLflow: `delivered`, `behind` or `failed: why`; empty without one."""

    @property
    def exit_code(self) -> int:
        """130 after an interrupt, as shells have it; 1 where every trial failed."""
        if self.reason == "interrupted":
            return 130
        trials = self.study.trials
        return 1 if trials and all(trial.state == "failed" for trial in trials) else 0

    def as_json(self) -> dict[str, Any]:
        """Return the document that `dlx sweep --json` ends with."""
        study, best = self.study, self.study.best()
        board = rank(study.points(), study.metrics[0], study.rising[0])
        counts = {name: len(study.in_state(name)) for name in ("finished", "stopped", "failed", "waiting")}
        return {
            "study": study.folder.name,
            "dir": str(study.folder),
            "ended": self.reason,
            "seconds": round(self.seconds, 3),
            "trials": len(study.trials),
            **counts,
            "refused": len(study.refused),
            "metrics": study.metrics,
            "best": trial_as_json(study, best) if best is not None else None,
            "averaged_over": study.replicate_keys,
            "leaderboard": [place.as_json() for place in board[:LISTED]],
            "note": self.note or None,
            "tracking": self.tracking or None,
            "next": self.next or None,
        }


def trial_as_json(study: Study, trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON, with its means over the seeds."""
    names = {name for by_seed in trial.rungs.values() for metrics in by_seed.values() for name in metrics}
    means = {name: trial.value(name) for name in sorted(names)}
    runs = [str(study.runs / key) for key in trial.runs.values()]
    return {
        "number": trial.number,
        "state": trial.state,
        "point": trial.point,
        "params": trial.params,
        "macs": trial.macs,
        "steps": max(trial.steps.values(), default=0),
        "metrics": {name: value if value is None or isfinite(value) else str(value) for name, value in means.items()},
        "run": runs[0] if runs else None,
        "runs": runs,
        "message": trial.message or None,
    }
