"""What analyses share that train one spec with several values of a key: options, plans, errors over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ..errors import DlxError, Problem, RunError, SpecError
from ..spec import Experiment, missing_sections, objective_of
from ..spec.analyses import Analysis
from ..spec.overrides import mark_of
from .measures.over_seeds import over_seeds
from .result import Lines
from .variants import Plan, Variant, planned, trained

if TYPE_CHECKING:
    import numpy.typing as npt

    from .subject import Subject

    Array = npt.NDArray[Any]

FACTORS = (0.125, 0.25, 0.5, 1, 2, 4)
"""Default values of a key, as parts of the value that the spec has."""


class Trains(Analysis):
    """Base of analyses that train variants of a spec; each is a run below the folder of runs, and read back later."""

    trains: ClassVar[bool] = True
    several: ClassVar[Any] = "no"

    def plans(self, subject: Subject) -> list[Plan]:
        """Return the variants in their order, without torch. SpecError where one cannot be trained."""
        raise TypeError(f"{type(self).__name__} has no plans()")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why a variant cannot be trained."""
        if missing := missing_sections(subject.experiment, "data", "train"):
            return missing
        try:
            self.plans(subject)
        except SpecError as error:
            return list(error.problems)
        return []

    def variants(self, subject: Subject) -> tuple[Variant, ...]:
        """Train the variants, or read them back."""
        return trained(self.plans(subject), subject.study)


def held_out(subject: Subject) -> str:
    """Return the part that variants are measured on: test, else validation. DlxError where the data has neither."""
    if subject.sets.test is not None:
        return "test"
    if subject.sets.valid is not None:
        return "valid"
    message = f"{subject.name} holds out no examples to measure its variants on"
    raise DlxError(message, hint="Give the data a `test` or `valid` part.")


class Varied(Trains):
    """Base of analyses over the values of one key of the spec."""

    seeds: PositiveInt = Field(3, description="trainings of each value")
    metric: str = Field("", description="what is shown of both parts; by default error, of values loss")

    def plans_over(
        self, subject: Subject, key: str, values: Sequence[Any], more: Sequence[str] = (), draw: str = ""
    ) -> list[Plan]:
        """Return a plan for each value of a key, with further changes; `draw` is a key that gets the seeds too."""
        return [planned(subject.experiment, [*more, f"{key}={value}"], self.seeds, draw) for value in values]

    def variants(self, subject: Subject) -> tuple[Variant, ...]:
        """Train the variants, or read them back. DlxError before that where the data holds out no part."""
        held_out(subject)
        return super().variants(subject)

    def metric_of(self, subject: Subject) -> str:
        """Return the metric that is shown. SpecError where no training reports it."""
        modes = objective_of(subject.experiment).modes()
        chosen = self.metric or ("error" if "error" in modes else "loss")
        if chosen not in modes:
            known = ", ".join(modes)
            mark = mark_of(f"metric={self.metric}") if self.metric else None
            raise SpecError(Problem(f"no training of {subject.name} reports {chosen}", f"It reports {known}.", mark))
        return chosen


@dataclass(frozen=True)
class Errors:
    """A metric of variants in the training part and in a held-out part: means and 95 % intervals over the seeds."""

    metric: str
    part: str
    train: Array
    held_out: Array
    train_band: tuple[Any, Any]
    held_out_band: tuple[Any, Any]

    @classmethod
    def of(cls, variants: Sequence[Variant], metric: str) -> Errors:
        """Read them. RunError where the data holds out no part."""
        found = variants[0].metrics[0]
        part = next((name for name in ("test", "valid") if f"{name}/{metric}" in found), "")
        if not part:
            hint = "Give the data a `test` or `valid` part."
            raise RunError(f"{variants[0].runs[0].key} holds out no examples to measure {metric} on", hint=hint)
        train, low, high = over_seeds(_by_seed(variants, f"train/{metric}"))
        mean, below, above = over_seeds(_by_seed(variants, f"{part}/{metric}"))
        return cls(metric, part, train, mean, (low, high), (below, above))

    def lines(self, x: Any, suffix: str = "") -> tuple[Lines, Lines]:
        """Return a line for each part, with their bands."""
        return (
            Lines(f"train{suffix}", x, self.train, *self.train_band),
            Lines(f"{self.part}{suffix}", x, self.held_out, *self.held_out_band),
        )


def _by_seed(variants: Sequence[Variant], metric: str) -> list[list[float]]:
    """Return a metric by seed and variant."""
    return [list(one) for one in zip(*(variant.values(metric) for variant in variants), strict=True)]


def data_key(experiment: Experiment, field: str) -> str:
    """Return the key of a field of the data, `data.curve.seed`. SpecError where the data has no such field."""
    data = experiment.data
    if data is not None and field in type(data).model_fields:
        return f"data.{data.kind}.{field}"
    what = f"the data `{data.kind}` has no `{field}`" if data is not None else "the spec has no `data`"
    raise SpecError(Problem(what, "", experiment.place("data"), "data"))


def value_at(experiment: Experiment, key: str) -> Any:
    """Return the value of a key as written; None where it is not written."""
    node = experiment.written.at(*key.split("."))
    return None if node is None else node.plain()


def around(experiment: Experiment, key: str) -> list[float]:
    """Return values around the one that a key has, in octaves. SpecError where it is no number above 0."""
    value = value_at(experiment, key)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        hint = "Say its values: `--set values=[1,2,4]`."
        if value is None:
            hint = "Name the key, and its values: `--set over=network.layers.linear_1.linear --set values=[4,8]`."
        what = "is not in the spec" if value is None else f"is {value!r}, and no number above 0"
        raise SpecError(Problem(f"`{key}` {what}", hint, experiment.place(*key.split(".")), key))
    if isinstance(value, int):
        return list(dict.fromkeys(max(1, round(value * factor)) for factor in FACTORS))
    return [value * factor for factor in FACTORS]
