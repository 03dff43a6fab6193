"""Checks of baselines against the data and the objective of a spec, before any is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..baselines import Learns
from ..baselines.base import OfSeries, OfText
from ..data.text.text import Text
from ..errors import Problem, SpecError
from ..objectives import Supervised
from ..spec import Experiment, missing_sections, supervised_of
from .baseline_metrics import OF_PROBABILITIES, OF_VALUES

if TYPE_CHECKING:
    from ..data.base import Facts


def check(experiment: Experiment) -> Learns:
    """Return what the targets of a spec are. SpecError with all reasons why its baselines cannot be fitted."""
    problems = [*experiment.problems, *missing_sections(experiment, "data", "train")]
    if problems:
        raise SpecError(*problems)
    objective, facts = supervised_of(experiment), experiment.data.facts() if experiment.data is not None else None
    assert facts is not None
    place = experiment.place("objective")
    if facts.classes is None and facts.target is None:
        hint = "Name the column or array that is to be learned."
        raise SpecError(Problem("the data has no targets to learn", hint, experiment.place("data"), "data"))
    if objective.kind == "language" and isinstance(experiment.data, Text):
        return _of_text(experiment)
    if objective.kind not in {*OF_PROBABILITIES, *OF_VALUES}:
        message = f"baselines learn a class or numbers for each example, and {objective.kind} has targets of its own"
        raise SpecError(Problem(message, "They take classification and regression.", place, "objective"))
    past_alone = all(isinstance(one, OfSeries) for one in experiment.baselines) and objective.kind == "forecast"
    unused = _unused_fields(facts, past_alone=past_alone)
    if unused:
        message = f"baselines take one input and one target, and the data has {unused} besides"
        hint = "Fit them to a spec whose data has one of each, and no weights."
        if objective.kind == "forecast":
            hint = "Those that go on with the past alone leave it out: naive, seasonal_naive, auto_regression."
        raise SpecError(Problem(message, hint, experiment.place("data"), "data"))
    learns: Learns = "values" if objective.kind in OF_VALUES else "classes"
    _named(experiment, "knn", "svm")
    problems = list(_misfits(experiment, objective, facts, learns))
    if problems:
        raise SpecError(*problems)
    return learns


def _named(experiment: Experiment, *some: str) -> None:
    """Raise SpecError where no baselines are named; `some` are kinds that would fit."""
    if not experiment.baselines:
        options = " ".join(f"--kind {one}" for one in some)
        hint = f"Name them: `{options}`, or `baselines: [{', '.join(some)}]` in the spec."
        raise SpecError(Problem("no baselines are named", hint, experiment.place(), "baselines"))


def _of_text(experiment: Experiment) -> Learns:
    """Return what the targets of a text are. SpecError where its baselines are of anything else."""
    _named(experiment, "ngram=3", "ngram=5")
    message = "{} learns a class or numbers for each example, and language tells a token at each position"
    problems = [
        Problem(message.format(one.kind), "Take ngram.", experiment.place("baselines", str(i)), f"baselines.{i}")
        for i, one in enumerate(experiment.baselines)
        if not isinstance(one, OfText)
    ]
    if problems:
        raise SpecError(*problems)
    return "classes"


def _misfits(experiment: Experiment, objective: Supervised, facts: Facts, learns: Learns) -> Iterator[Problem]:
    """Yield the baselines that cannot learn the targets."""
    for i, baseline in enumerate(experiment.baselines):
        hint, message = "", ""
        if isinstance(baseline, OfText):
            message = f"{baseline.kind} tells the next token of a text, and the objective is {objective.kind}"
            hint = "Take `objective: language`, and `data: {text: ...}`."
        elif learns not in baseline.learns:
            message = f"{baseline.kind} learns {baseline.learns[0]}, and the targets are {learns}"
            hint = "Take ridge." if learns == "values" else "Take logistic_regression."
        elif isinstance(baseline, OfSeries) and objective.kind != "forecast":
            message = f"{baseline.kind} goes on with a series, and the objective is {objective.kind}"
            hint = "Take `objective: forecast`, and data of series."
        elif isinstance(baseline, OfSeries):
            message = baseline.check(facts.input[0])
        if message:
            yield Problem(message, hint, experiment.place("baselines", str(i)), f"baselines.{i}")


def _unused_fields(facts: Facts, *, past_alone: bool) -> str:
    """Return the fields of the data that baselines would leave out, in words."""
    own = (facts.input_name, facts.target_name)
    return ", ".join(
        f"the {f.role} `{name}`"
        for name, f in facts.fields.items()
        if f.role not in ("id", "scale") and name not in own and not (past_alone and f.role == "input")
    )
