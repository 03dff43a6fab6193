"""How long a search or a cross-validation of a spec takes: trainings in turn, each as long as that of the spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..experiment.folds import count_of
from ..experiment.forecast import TrainingTime
from ..spec import Experiment
from .plan import plan


@dataclass(frozen=True)
class StudyTime:
    """Seconds of the trainings of a study, one after the other."""

    command: Literal["sweep", "crossval"]
    count: int
    """Trials, or folds."""
    seeds: int
    """Trainings of each."""
    seconds: float
    at_most: bool
    """Whether early stopping, `max_time`, a scheduler or `until_alike` may end it sooner."""

    @property
    def unit(self) -> str:
        return "trial" if self.command == "sweep" else "fold"

    def as_json(self) -> dict[str, Any]:
        """Return its document in the `time` of `dlx inspect --time --json`."""
        about = {f"{self.unit}s": self.count, "seeds": self.seeds}
        return {"seconds": round(self.seconds, 3), "at_most": self.at_most, **about}


def studies_of(experiment: Experiment, found: TrainingTime, runs: Path = Path("runs")) -> list[StudyTime]:
    """Return the times of `dlx sweep` and `dlx crossval` of a spec that has a search space, or folds."""
    each = sum(part.seconds / part.trainings for part in found.parts.values())
    studies: list[StudyTime] = []
    if experiment.sweep is not None and experiment.sweep.space:
        planned = plan(experiment, (), runs)
        ends_early = planned.scheduler.kind != "none" or planned.sweep.until_alike is not None
        seconds = found.start + planned.trials * planned.seeds * each
        studies.append(StudyTime("sweep", planned.trials, planned.seeds, seconds, found.at_most or ends_early))
    if getattr(experiment.data, "folds", None):
        assert experiment.train is not None
        count, seeds = count_of(experiment), experiment.train.seeds
        studies.append(StudyTime("crossval", count, seeds, found.start + count * seeds * each, found.at_most))
    return studies


__all__ = ["StudyTime", "studies_of"]
