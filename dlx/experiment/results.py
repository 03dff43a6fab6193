"""Results of trainings: of one, of several seeds, of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..graph import Graphs
from ..runs.folder import RunFolder
from ..utils.intervals import half_interval, mean_of

if TYPE_CHECKING:
    from ..track import Mirror


@dataclass(frozen=True)
class Result:
    """One finished training."""

    run: RunFolder
    seed: int
    steps: int
    seconds: float
    metrics: dict[str, float]
    status: str = "finished"
    mirror: Mirror | None = None
    tracking: str = ""
    """State of the mirror in MLflow: `delivered`, `behind` or `failed: why`; empty where there is none."""
    tracking_uri: str = ""
    outcome: dict[str, Any] = field(default_factory=dict)
    """End of the training: `stopped_early`, `best` and `average`, and the best checkpoints as `kept`."""
    notes: tuple[str, ...] = ()
    """The outcome in sentences."""


@dataclass(frozen=True)
class Results:
    """Results of one training, of each seed, or of the members of an ensemble."""

    results: tuple[Result, ...]
    graphs: Graphs
    together: Result | None = None
    """The run of the ensemble, with the metrics of the combined outputs."""
    combine: str = ""
    """Rule by which outputs were combined."""

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric's mean over the seeds or members, and those of the ensemble."""
        means = {k: mean_of([r.metrics[k] for r in self.results]) for k in self._measured}
        return means | (self.together.metrics if self.together is not None else {})

    @property
    def _measured(self) -> list[str]:
        """Names of the metrics that all have: a training that was stopped may have fewer."""
        return [k for k in self.results[0].metrics if all(k in r.metrics for r in self.results)]

    @property
    def intervals(self) -> dict[str, float]:
        """Half the 95 % confidence interval of each mean that is finite (Student's t); empty for one seed."""
        halves = {k: half_interval([r.metrics[k] for r in self.results]) for k in self._measured}
        return {k: half for k, half in halves.items() if half is not None}

    def as_json(self) -> dict[str, Any]:
        """The document that `dlx train --json` ends with."""
        first = self.together or self.results[0]
        document: dict[str, Any] = {
            "run": first.run.key,
            "dir": str(first.run.dir),
            "steps": first.steps,
            "seconds": round(sum(r.seconds for r in self.results), 3),
            "status": next((r.status for r in self.results if r.status != "finished"), "finished"),
            "metrics": self.metrics,
            "notes": list(dict.fromkeys(note for result in (*self.results, first) for note in result.notes)),
            **first.outcome,
            "tracking": {"uri": first.tracking_uri, "state": first.tracking} if first.tracking else None,
        }
        if len(self.results) > 1:
            document["interval95"] = self.intervals
            document["members" if self.together is not None else "seeds"] = [
                {"seed": r.seed, "run": r.run.key, "dir": str(r.run.dir), "metrics": r.metrics, **r.outcome}
                for r in self.results
            ]
        return document
