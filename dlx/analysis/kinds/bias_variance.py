"""Bias and variance of a network, by training it again on resampled data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...data.splits import Pool
from ...errors import Problem, SpecError
from ...lazy import np
from ...objectives import Supervised
from ...spec import objective_of
from ...spec.analyses import Words
from ..measures.classifier import classes_of
from ..measures.decomposition import Decomposition, of_classes, of_squares
from ..result import Lines, Panel, Result
from ..variants import Plan, Variant, outputs, planned
from ..varied import Trains, data_key, held_out

if TYPE_CHECKING:
    from torch import Tensor

    from ...training.batches.data_part import DataPart
    from ..subject import Subject


class BiasVariance(Trains):
    """Train the spec many times on resampled data, and split the held-out error into bias and variance.

    Of values: variance = mean of (f_i - f)^2, bias = (f - y)^2 with f the mean prediction of infinitely many
    networks, and error = bias + variance; noise of the held-out targets is in the bias. Of classes, with the class
    that most networks predict: bias is the share of examples that it gets wrong, variance the share of predictions
    that differ from it where it is right, correction those that are right where it is wrong; error = bias + variance
    - correction. All are means over the test part of the spec as it is, else the validation part.
    `resample` is what each network has of its own beside its initial weights: a bootstrap sample, the seed of
    `label_noise`, or that of generated data; `weights` is those alone. Over the values of a key, `bias_V` and
    `variance_V` are of its value V, `best` is that of the lowest error, `bias_fall` and `variance_rise` the changes
    from the first to the last.
    Books: with the capacity bias falls and variance rises, and their sum is smallest between.
    """

    kind: ClassVar[str] = "bias_variance"
    source: ClassVar[str] = (
        "Geman, Bienenstock & Doursat 1992; Domingos 2000 (classes); Prince 2023, Understanding Deep Learning, "
        "sections 8.2 and 8.3"
    )
    example: ClassVar[str] = "dlx analyze bias_variance zoo/bias-variance"
    figures: ClassVar[tuple[str, ...]] = (
        "error",
        "bias",
        "variance",
        "correction",
        "error_N",
        "bias_N",
        "variance_N",
        "correction_N",
        "best",
        "bias_fall",
        "variance_rise",
    )

    over: str = Field("", description="key whose values are compared, such as vars.width")
    values: list[float] = Field([], description="its values")
    networks: PositiveInt = Field(20, ge=2, description="trainings of each value")
    resample: Literal["bootstrap", "noise", "data", "weights"] = Field(
        "bootstrap", description="what each training has of its own"
    )

    def words(self, subject: Subject) -> Words:
        return {"N": [f"{value:g}" for value in self.values]}

    def plans(self, subject: Subject) -> list[Plan]:
        """Return a plan for each value. SpecError where the data cannot be resampled so, or targets are neither."""
        experiment = subject.experiment
        objective = objective_of(experiment)
        if not isinstance(objective, Supervised) or objective.measures not in ("values", "classes"):
            message = (
                f"bias and variance are of one target of values or classes, and `{objective.kind}` learns others"
            )
            raise SpecError(Problem(message, "", experiment.place("objective"), "objective"))
        if bool(self.over) != bool(self.values):
            there, absent = ("over", "values") if self.over else ("values", "over")
            raise SpecError(Problem(f"`{there}` stands without `{absent}`", "Give both, or neither."))
        draw, more = self._resampled(subject)
        values: Sequence[float | None] = [int(v) if v.is_integer() else v for v in self.values] or [None]
        own = [[] if value is None else [f"{self.over}={value}"] for value in values]
        return [planned(experiment, [*more, *each], self.networks, draw) for each in own]

    def _resampled(self, subject: Subject) -> tuple[str, list[str]]:
        """Return the key that gets the seed of each training, and changes for all of them."""
        experiment = subject.experiment
        if self.resample == "bootstrap":
            return "", ["++train.bootstrap=true"]
        if self.resample == "noise":
            key = data_key(experiment, "label_noise")
            if getattr(experiment.data, "label_noise", None) is None:
                hint = f"Give it some: `+{key}=0.2` for classes, `+{key}.std=0.3` for values."
                raise SpecError(
                    Problem("the data has no `label_noise` to draw anew", hint, experiment.place("data"), key)
                )
            return f"{key}.seed", []
        if self.resample == "data":
            key, data = data_key(experiment, "seed"), experiment.data
            fitted = getattr(data, "standardize", "none") != "none"
            if isinstance(data, Pool) or fitted:
                why = "is standardized by each sample of its own" if fitted else "is one pool of examples"
                message = f"`resample: data` draws generated examples anew, and `{data.kind if data else ''}` {why}"
                raise SpecError(Problem(message, "Take `bootstrap`.", experiment.place("data"), "data"))
            return key, []
        return "", []

    def run(self, subject: Subject) -> Result:
        """Train the networks, and split their error on the same held-out examples."""
        part = subject.part(held_out(subject))  # before anything is trained
        variants = self.variants(subject)
        found = [self._split(subject, variant, part) for variant in variants]
        values: Sequence[float | None] = self.values or [None]
        rows = [
            [value, one.error, one.bias, one.variance, one.correction]
            for value, one in zip(values, found, strict=True)
        ]
        titles = (self.over or "spec", "error", "bias", "variance", "correction")
        if not self.values:
            (one,) = found
            return Result(_figures(one), (), (titles, rows), seeds=self.networks)
        figures: dict[str, Any] = {}
        for value, one in zip(self.values, found, strict=True):
            figures |= {f"{name}_{value:g}": figure for name, figure in _figures(one).items()}
        best = min(range(len(found)), key=lambda i: found[i].error)
        figures["best"] = self.values[best]
        figures |= {
            "bias_fall": found[0].bias - found[-1].bias,
            "variance_rise": found[-1].variance - found[0].variance,
        }
        names = ("error", "bias", "variance", *(["correction"] if any(one.correction for one in found) else []))
        lines = tuple(
            Lines(name, self.values, [getattr(one, name) for one in found], dashed=name == "error") for name in names
        )
        panel = Panel("bias and variance", self.over, "held-out error", lines)
        return Result(figures, (panel,), (titles, rows), seeds=self.networks)

    def _split(self, subject: Subject, variant: Variant, part: DataPart) -> Decomposition:
        """Return the parts of the error of one value."""
        objective = subject.supervised
        each = [self._predicted(subject, one).cpu().numpy() for one in outputs(variant, subject.supervised, part)]
        target = objective.target(part.batch(part.fields)).cpu().numpy()
        return (of_classes if objective.measures == "classes" else of_squares)(np.stack(each), target)

    def _predicted(self, subject: Subject, output: Tensor) -> Tensor:
        """Return predictions in the unit of the targets, or classes."""
        objective = subject.supervised
        if objective.measures == "values":
            return objective.predict(output)
        return classes_of(objective, output)


def _figures(one: Decomposition) -> dict[str, float]:
    """Return the parts of an error by name."""
    found = {"error": one.error, "bias": one.bias, "variance": one.variance}
    return found | ({"correction": one.correction} if one.correction else {})
