"""Errors over the number of training examples, and the power law of their fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...spec.analyses import NOTHING, Words
from ..measures.curves import power_law
from ..result import Lines, Panel, Result, Scale
from ..variants import Plan
from ..varied import Errors, Varied, data_key

if TYPE_CHECKING:
    from ..subject import Subject

PARTS = (16, 8, 4, 2, 1)
"""Parts of the examples by default: a sixteenth up to all."""


class LearningCurve(Varied):
    """Train the spec on more and more examples, and measure the error of the training and of the held-out part.

    The held-out error falls with the examples, about as a power law, factor * examples ** -exponent, which is fitted
    to the means by least squares of their logarithms; `explained` is the share of their variance. The training error
    rises to meet it: `gap_first` and `gap_last` are held-out minus training error at the fewest and the most
    examples, `error_N` the held-out error of N: the metric, such as a loss. Errors of 0 have no logarithm, and
    are left out of the fit, which a note tells. With `draw: data` each seed draws its examples anew, the held-out
    ones too: by the seed of generated data, or of the split.
    Books: least squares on p normal inputs and noise of variance s^2 have the error s^2 p / (n - p - 1) without that
    of the noise itself, and the training error s^2 (1 - p / n).
    """

    kind: ClassVar[str] = "learning_curve"
    source: ClassVar[str] = (
        "Hestness et al. 2017, arXiv:1712.00409, section 2; Hastie, Tibshirani & Friedman 2009, section 7.10.1"
    )
    example: ClassVar[str] = "dlx analyze learning_curve zoo/least-squares-curve"
    figures: ClassVar[tuple[str, ...]] = (
        "error_N",
        "train_N",
        "gap_first",
        "gap_last",
        "exponent",
        "factor",
        "explained",
    )

    sizes: list[PositiveInt] = Field([], description="numbers of examples; by default a sixteenth up to all")
    over: str = Field("", description="key that says how many; by default `train` of the data")
    draw: Literal["weights", "data"] = Field("weights", description="what a seed draws anew")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why a variant cannot be trained; data whose spec does not say how many it has is not loaded here."""
        counted = self.sizes or _examples(subject)
        return super().problems(subject) if counted else self.model_copy(update={"sizes": [2]}).problems(subject)

    def chosen(self, subject: Subject) -> list[int]:
        """Return the numbers of examples, the fewest first."""
        if self.sizes:
            return sorted(set(self.sizes))
        whole = _examples(subject) or len(subject.sets.train)
        return list(dict.fromkeys(max(1, whole // part) for part in PARTS))

    def words(self, subject: Subject) -> Words:
        count = _examples(subject)
        return NOTHING if count is None and not self.sizes else {"N": [str(size) for size in self.chosen(subject)]}

    def plans(self, subject: Subject) -> list[Plan]:
        """Return a plan for each number of examples."""
        self.metric_of(subject)
        key = self.over or data_key(subject.experiment, "train")
        draw = data_key(subject.experiment, "seed") if self.draw == "data" else ""
        return self.plans_over(subject, f"++{key}", self.chosen(subject), draw=draw)

    def run(self, subject: Subject) -> Result:
        """Train on each number of examples, and fit the power law."""
        sizes, metric = self.chosen(subject), self.metric_of(subject)
        errors = Errors.of(self.variants(subject), metric)
        law = power_law(sizes, list(errors.held_out))
        figures: dict[str, Any] = {
            f"error_{size}": float(one) for size, one in zip(sizes, errors.held_out, strict=True)
        }
        figures |= {f"train_{size}": float(one) for size, one in zip(sizes, errors.train, strict=True)}
        between = errors.held_out - errors.train
        figures |= {"gap_first": float(between[0]), "gap_last": float(between[-1])}
        lines: tuple[Lines, ...] = errors.lines(sizes)
        if law is not None:
            figures |= {"exponent": law.exponent, "factor": law.factor, "explained": law.explained}
            label = f"power law, exponent {law.exponent:.2g}"
            lines = (*lines, Lines(label, sizes, [law.at(size) for size in sizes], dashed=True))
        rows = [
            [size, float(train), float(held_out)]
            for size, train, held_out in zip(sizes, errors.train, errors.held_out, strict=True)
        ]
        scale: Scale = "log" if min(errors.train.min(), errors.held_out.min()) > 0 else "linear"
        panel = Panel("learning curve", "training examples", metric, lines, x_scale="log", y_scale=scale)
        titles = ("examples", f"train {metric}", f"{errors.part} {metric}")
        none = [f"{size:,}" for size, one in zip(sizes, errors.held_out, strict=True) if one <= 0]
        left = f"the power law is without the {errors.part} {metric} of 0 at {' and '.join(none)} examples"
        return Result(figures, (panel,), (titles, rows), (left,) if none else (), seeds=self.seeds)


def _examples(subject: Subject) -> int | None:
    """Return the number of training examples, where it is known before they are loaded."""
    train = getattr(subject.experiment.data, "train", None)
    return train if isinstance(train, int) else subject.facts.examples
