"""The step at which a training should have stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...metrics import RUNNING_LOSS
from ...spec import missing_sections, objective_of
from ...spec.analyses import Analysis
from ..measures.curves import stops_at
from ..measures.over_seeds import over_seeds
from ..result import Lines, Panel, Result
from ..run_curves import common, curve, without_curve

if TYPE_CHECKING:
    from ..subject import Subject


class EarlyStoppingCurve(Analysis):
    """Curves of the training loss and of the validation part by step, and the step that has the best validation.

    `best_step` is that of the best mean over the seeds, `best` its value, `last` that of the last evaluation, `lost`
    how much worse the last is. With a patience of `patience` evaluations the training would have stopped at
    `stop_step`, and kept the best before: `stop_best`.
    Books: the training loss goes on falling while the validation loss rises; stopping where it is lowest acts like a
    penalty on the squared weights, for least squares of about 1 / (steps * rate).
    """

    kind: ClassVar[str] = "early_stopping"
    source: ClassVar[str] = "Goodfellow, Bengio & Courville 2016, Deep Learning, section 7.8 and figure 7.3"
    example: ClassVar[str] = "dlx analyze early_stopping early-stopping"
    figures: ClassVar[tuple[str, ...]] = ("best_step", "best", "last", "lost", "stop_step", "stop_best")
    trained: ClassVar[bool] = True

    metric: str = Field("loss", description="of the validation part")
    patience: PositiveInt = Field(5, description="evaluations without a new best value")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no curve: a metric that is none of the objective, or no evaluations."""
        if missing := missing_sections(subject.experiment, "data", "train"):
            return missing
        modes = objective_of(subject.experiment).modes()
        if self.metric not in modes:
            known = ", ".join(modes)
            return [Problem(f"no training of {subject.name} reports {self.metric}", f"It reports {known}.")]
        return without_curve(subject.runs, f"valid/{self.metric}")

    def run(self, subject: Subject) -> Result:
        """Read the curves, and find the best step."""
        steps, values = common([curve(run, f"valid/{self.metric}") for run in subject.runs])
        rises = objective_of(subject.experiment).modes()[self.metric] == "max"
        mean, low, high = over_seeds(values)
        best = int(mean.argmax() if rises else mean.argmin())
        stop = stops_at(list(mean), self.patience, rises=rises)
        until = mean[: stop + 1]
        figures: dict[str, Any] = {
            "best_step": steps[best],
            "best": float(mean[best]),
            "last": float(mean[-1]),
            "lost": float(abs(mean[-1] - mean[best])),
            "stop_step": steps[stop],
            "stop_best": float(until.max() if rises else until.min()),
        }
        at, losses = common([curve(run, RUNNING_LOSS) for run in subject.runs])
        held_out = Lines(f"valid {self.metric}", steps, mean, low, high)
        ends = [float(np.nanmin(mean)), float(np.nanmax(mean))]
        marks = (held_out, Lines(f"best, step {steps[best]:,}", [steps[best]] * 2, ends, dashed=True))
        panels = [Panel("early stopping", "step", f"valid {self.metric}", marks)]
        if at:
            train, below, above = over_seeds(losses)
            panels.append(Panel("training", "step", "training loss", (Lines("train loss", at, train, below, above),)))
        rows = [[step, float(value)] for step, value in zip(steps, mean, strict=True)]
        return Result(figures, tuple(panels), (("step", f"valid {self.metric}"), rows), seeds=len(subject.runs))
