"""Errors over the size of a network: the second descent of those that can fit every example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ...errors import Problem
from ...lazy import np
from ..measures.curves import second_descent
from ..result import Lines, Panel, Result
from ..variants import Plan, Variant
from ..varied import Errors, Varied, around

if TYPE_CHECKING:
    from ..subject import Subject

FITTED = 1e-3
"""Part of the largest training error below which the examples count as fitted."""
PEAKED = 30
"""Ratio of the largest to the smallest held-out error from which on the axis is logarithmic."""
Rate = Annotated[float, Field(gt=0, le=1)]


class Capacity(Varied):
    """Train the spec at several values of a key that sets the size of the network, and measure both errors.

    The training error falls to 0 at the interpolation threshold, the first value that fits every example. There the
    test error peaks, above all with wrong labels, and falls again beyond: double descent. `second_descent` says
    whether the mean test error has a peak between two descents; `peak` is the key's value there, `peak_params` the
    trainable parameters, `rise` and `fall` its heights above the lowest points before and after. `threshold` is the
    first value whose training error is below 0.1 % of the largest, absent where none is.
    With `label_noise: 0.2` the training labels have noise of this rate, and a second pair of curves has none, with
    `clean_` before its figures.
    Books: the peak is where there are as many parameters as the examples determine; regularisation removes it.
    """

    kind: ClassVar[str] = "capacity"
    source: ClassVar[str] = (
        "Belkin et al. 2019, arXiv:1812.11118, figure 1; Prince 2023, Understanding Deep Learning, section 8.4"
    )
    example: ClassVar[str] = "dlx analyze capacity zoo/double-descent"
    figures: ClassVar[tuple[str, ...]] = (
        "second_descent",
        "rise",
        "fall",
        "best",
        "largest",
        "peak",
        "peak_params",
        "threshold",
        "clean_second_descent",
        "clean_rise",
        "clean_fall",
        "clean_best",
        "clean_largest",
        "clean_peak",
        "clean_peak_params",
        "clean_threshold",
    )

    over: str = Field("vars.width", description="key that sets the size of the network")
    values: list[float] = Field([], description="its values; by default an eighth to four times that of the spec")
    label_noise: Rate | None = Field(None, description="rate of wrong training labels, beside curves without any")

    def chosen(self, subject: Subject) -> list[float]:
        """Return the values of the key, the smallest first. SpecError where the spec has no number there."""
        return sorted(map(_whole, self.values)) or around(subject.experiment, self.over)

    def plans(self, subject: Subject) -> list[Plan]:
        """Return a plan for each value; of those with noise first, where there is any."""
        self.metric_of(subject)
        values, data = self.chosen(subject), subject.experiment.data
        if self.label_noise is None or data is None:
            return self.plans_over(subject, self.over, values)
        key = f"data.{data.kind}.label_noise"
        written = subject.experiment.written.at(*key.split(".")) is not None
        noisy = self.plans_over(subject, self.over, values, [f"++{key}={self.label_noise}"])
        return [*noisy, *self.plans_over(subject, self.over, values, [f"~{key}"] if written else [])]

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why a variant cannot be trained, or that too few values make no curve."""
        found = super().problems(subject)
        if not found and len(self.chosen(subject)) < 3:
            message = f"a peak lies between two other values, and `values` has {len(self.chosen(subject))}"
            return [Problem(message, "Give three values or more.")]
        return found

    def run(self, subject: Subject) -> Result:
        """Train the variants, and find the peak."""
        values, metric, variants = self.chosen(subject), self.metric_of(subject), self.variants(subject)
        noisy, clean = variants[: len(values)], variants[len(values) :]
        figures, lines, rows = self._look(noisy, values, metric, " with noise" if clean else "")
        if clean:
            more, others, further = self._look(clean, values, metric, " without noise")
            figures |= {f"clean_{name}": one for name, one in more.items()}
            lines, rows = (*lines, *others), [*rows, *further]
        titles = (self.over, "parameters", "labels", f"train {metric}", f"held-out {metric}")
        return Result(figures, (_panel(lines, metric),), (titles, rows), seeds=self.seeds)

    def _look(
        self, variants: Sequence[Variant], values: Sequence[float], metric: str, suffix: str
    ) -> tuple[dict[str, Any], tuple[Lines, ...], list[list[Any]]]:
        """Return figures, lines and rows of one pair of curves."""
        errors = Errors.of(variants, metric)
        params = [one.graphs.trainable for one in variants]
        peak, best = second_descent(list(errors.held_out)), int(errors.held_out.argmin())
        figures: dict[str, Any] = {
            "second_descent": min(peak.rise, peak.fall) > 0,
            "rise": peak.rise,
            "fall": peak.fall,
            "best": values[best],
            "largest": float(errors.held_out[-1]),
        }
        if figures["second_descent"]:
            figures |= {"peak": values[peak.peak], "peak_params": params[peak.peak]}
        fitted = [
            value for value, error in zip(values, errors.train, strict=True) if error <= FITTED * errors.train.max()
        ]
        if fitted:
            figures["threshold"] = fitted[0]
        rows = [
            [value, size, suffix.strip() or "as they are", float(train), float(held_out)]
            for value, size, train, held_out in zip(values, params, errors.train, errors.held_out, strict=True)
        ]
        return figures, errors.lines(params, suffix), rows


def _panel(lines: tuple[Lines, ...], metric: str) -> Panel:
    """Draw the curves; on a logarithmic axis, cut off below, where a peak would flatten all else."""
    held_out = [float(one) for line in lines[1::2] for one in line.y]
    title, x = "error by capacity", "trainable parameters"
    if not 0 < min(held_out) < max(held_out) / PEAKED:
        return Panel(title, x, metric, lines, x_scale="log")
    floor = min(held_out) / 2
    cut = tuple(Lines(one.label, one.x, np.maximum(np.asarray(one.y), floor)) for one in lines)
    return Panel(title, x, f"{metric} (at least {floor:.2g} is drawn)", cut, x_scale="log", y_scale="log")


def _whole(value: float) -> float:
    """Return whole numbers as such: a width of 8.0 is none."""
    return int(value) if float(value).is_integer() else value
