"""One trial of a study, and what is known of it. Plain values: everything here goes to the journal and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "running", "stopped", "finished", "failed"]
"""Stopped: a scheduler ended it at a rung. Failed: an error ended it, and its message says which."""

Point = dict[str, Any]
"""What varies, by the key of the spec: {"train.optimizer.adam.lr": 0.01}."""


@dataclass
class Trial:
    """One point, trained with one or several seeds. Numbers count from 0 in the order of suggestion."""

    number: int
    point: Point
    generation: int
    params: int
    macs: int
    state: State = "waiting"
    runs: dict[int, str] = field(default_factory=dict)
    """The run of each seed."""
    rungs: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)
    """Metrics by the step of a rung and the seed; the last rung is the end of the training."""
    steps: dict[int, int] = field(default_factory=dict)
    """Steps trained, by seed."""
    seconds: float = 0.0
    message: str = ""
    taken: dict[int, int] = field(default_factory=dict)
    """By the step of a rung, the trial whose weights it took over there (population-based training)."""

    def value(self, metric: str, step: int | None = None) -> float | None:
        """A metric, mean over the seeds, at a rung or the last one that it reached; None where none reports it."""
        if not self.rungs:
            return None
        told = self.rungs.get(max(self.rungs) if step is None else step, {})
        values = [metrics[metric] for metrics in told.values() if metric in metrics]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Refused:
    """A point that was not tried, and why."""

    point: Point
    reason: str
