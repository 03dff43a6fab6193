"""What a listener is told of a sweep, and how it ended."""

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
"""Trials of the leaderboard in the document."""
Reason = Literal["finished", "budget", "interrupted"]


@dataclass(frozen=True)
class Opened:
    """A study is begun, or gone on with."""

    plan: SweepPlan
    study: Study


@dataclass(frozen=True)
class Suggested:
    """A generation, and how many points were refused on the way to it."""

    trials: Sequence[Trial]
    refused: int


@dataclass(frozen=True)
class TaskEnded:
    """A training has come as far as it was to; its trial as the journal has it."""

    trial: Trial
    outcome: TrialOutcome


@dataclass(frozen=True)
class Reported:
    """A trial stands in the journal at a rung, or at its end."""

    trial: Trial


@dataclass(frozen=True)
class Stopped:
    """Trials that a scheduler ended."""

    trials: Sequence[Trial]
    step: int


@dataclass(frozen=True)
class Noted:
    """A sentence about how the sweep goes."""

    text: str


Callback = Callable[[Any], None]


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended, and what the same command would do next."""

    study: Study
    reason: Reason
    seconds: float
    next: str = ""
    note: str = ""
    """Why it ended before all trials were tried."""
    mirror: Mirror | None = None
    tracking: str = ""
    """What became of the mirror in MLflow: `delivered`, `behind` or `failed: why`; empty where there is none."""

    @property
    def exit_code(self) -> int:
        """As of a program that was interrupted, or 1 where every trial failed."""
        if self.reason == "interrupted":
            return 130
        trials = self.study.trials
        return 1 if trials and all(trial.state == "failed" for trial in trials) else 0

    def as_json(self) -> dict[str, Any]:
        """The document that `dlx sweep --json` ends with."""
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
    """A trial with its means over the seeds."""
    names = {name for told in trial.rungs.values() for metrics in told.values() for name in metrics}
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
