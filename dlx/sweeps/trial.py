"""A trial of a study. Its values are plain: they are written to the journal and read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "running", "stopped", "finished", "failed"]
"""State of a trial. Stopped: a scheduler ended it at a rung. Failed: an error ended it, which its message names."""

Point = dict[str, Any]
"""Values of what varies, by the key of the spec: {"train.optimizer.adam.lr": 0.01}."""


@dataclass
class Trial:
    """One point, trained with one or several seeds. Trials are numbered from 0 in the order of suggestion."""

    number: int
    point: Point
    generation: int
    params: int
    macs: int
    state: State = "waiting"
    runs: dict[int, str] = field(default_factory=dict)
    """Key of the run of each seed."""
    rungs: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)
    """Metrics by the step of a rung and the seed; the last rung is the end of the training."""
    steps: dict[int, int] = field(default_factory=dict)
    """Trained steps, by seed."""
    seconds: float = 0.0
    message: str = ""
    inherited_from: dict[int, int] = field(default_factory=dict)
    """By the step of a rung, the trial whose weights it took over there (population-based training)."""

    def value(self, metric: str, step: int | None = None) -> float | None:
        """Return a metric, averaged over the seeds, at a rung, else the last one; None where no seed reports it."""
        if not self.rungs:
            return None
        by_seed = self.rungs.get(max(self.rungs) if step is None else step, {})
        values = [metrics[metric] for metrics in by_seed.values() if metric in metrics]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Refused:
    """A point that was not tried, and the reason."""

    point: Point
    reason: str
