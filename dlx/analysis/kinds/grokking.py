"""Generalisation long after the training examples are known by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat

from ...errors import Problem
from ...metrics import RUNNING_LOSS
from ...spec.analyses import Analysis
from ..measures.over_seeds import over_seeds
from ..result import Lines, Panel, Result
from ..run_curves import Curve, common, curve, without_curve

if TYPE_CHECKING:
    from ..subject import Subject

ACCURACY = "valid/accuracy"


class Grokking(Analysis):
    """The step at which a training knows its examples, and the step at which it answers others.

    `fitted_step` is the first point of the curve whose running training loss is below `fitted`, `generalised_step`
    the first evaluation whose validation accuracy is at least `generalised`; both are means over the runs, and
    `delay` is the mean of their ratios. `generalised` is the share of the runs that come there: the steps of those
    that do not are left out, and where none does so is `delay`. `last` is the last validation accuracy.
    Books: both come at about the same step; with few examples of an algorithm, generalisation comes ten to a thousand
    times later, and weight decay brings it forward.
    """

    kind: ClassVar[str] = "grokking"
    source: ClassVar[str] = "Power et al. 2022, arXiv:2201.02177, figures 1 and 2"
    example: ClassVar[str] = "dlx analyze grokking grokking"
    figures: ClassVar[tuple[str, ...]] = ("generalised", "last", "fitted_step", "generalised_step", "delay")
    trained: ClassVar[bool] = True

    fitted: PositiveFloat = Field(0.1, description="training loss below which the examples count as known, in nats")
    generalised: PositiveFloat = Field(0.95, le=1, description="validation accuracy from which on it generalises")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return the runs without a curve of the validation accuracy."""
        return without_curve(subject.runs, ACCURACY)

    def run(self, subject: Subject) -> Result:
        """Read the curves, and find both steps."""
        losses = [curve(run, RUNNING_LOSS) for run in subject.runs]
        answers = [curve(run, ACCURACY) for run in subject.runs]
        known = [_first(one, lambda value: value < self.fitted) for one in losses]
        right = [_first(one, lambda value: value >= self.generalised) for one in answers]
        both = [(a, b) for a, b in zip(known, right, strict=True) if a is not None and b is not None]
        figures: dict[str, Any] = {
            "generalised": sum(one is not None for one in right) / len(right),
            "last": sum(one.values[-1] for one in answers) / len(answers),
        }
        if there := [one for one in known if one is not None]:
            figures["fitted_step"] = sum(there) / len(there)
        if both:
            figures["generalised_step"] = sum(b for _, b in both) / len(both)
            figures["delay"] = sum(b / a for a, b in both) / len(both)
        panels = (
            _panel("training loss", "nats", losses, self.fitted),
            _panel("validation accuracy", "accuracy", answers, self.generalised),
        )
        rows = [[run.key, known[i], right[i], answers[i].values[-1]] for i, run in enumerate(subject.runs)]
        titles = ("run", "examples known at step", "generalises at step", "last validation accuracy")
        return Result(figures, panels, (titles, rows), seeds=len(subject.runs))


def _first(found: Curve, holds: Any) -> int | None:
    """Return the first step at which a condition holds; None where it never does."""
    return next((step for step, value in zip(found.steps, found.values, strict=True) if holds(value)), None)


def _panel(title: str, unit: str, curves: list[Curve], bound: float) -> Panel:
    """Draw curves over the logarithm of the step, and the bound that they are to cross."""
    steps, values = common(curves)
    marks = (
        Lines(title, steps, *over_seeds(values)),
        Lines(f"{bound:g}", [steps[0], steps[-1]], [bound, bound], dashed=True),
    )
    return Panel(title, "step", unit, marks, x_scale="log")
