"""Whether a training ended in what it should not: metrics that are not finite, or what its objective warns of."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from ..objectives import Supervised

if TYPE_CHECKING:
    from .fit import Job


def notes(job: Job, metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return sentences on the end of a training by an objective with phases, of the test, else validation part."""
    if isinstance(job.objective, Supervised):
        return ()
    infinite = [f"{name} is {value}" for name, value in metrics.items() if not isfinite(value)]
    found = [f"the training has diverged: {', '.join(infinite)}"] if infinite else []
    part = next((part for part in ("test", "valid", "train") if part in job.parts), "train")
    measured = {
        name.removeprefix(f"{part}/"): value
        for name, value in metrics.items()
        if name.startswith(f"{part}/") and isfinite(value)
    }
    return (*found, *(f"{part}: {sentence}" for sentence in job.objective.warnings(measured)))
