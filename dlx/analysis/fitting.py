"""Whether analyses fit a spec or runs, and all reasons why not; without what runs them, which is heavy."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from ..errors import DlxError, Problem, did_you_mean
from ..graph import Graphs
from ..spec import Experiment, load
from ..spec.analyses import Analysis
from ..spec.sections.expect import claims_of
from .subject import Subject, of_spec


def of_declared(experiment: Experiment, graphs: Graphs) -> Iterator[Problem]:
    """Yield the reasons why declared analyses, or claims on them, do not fit, at their places."""
    subject, fit = of_spec(experiment, graphs), set[str]()
    for name, one in experiment.analyses.items():
        mark, path = subject.mark("analyses", name), f"analyses.{name}"
        found = problems_of(one, subject, declared=True)
        for problem in found:
            yield replace(problem, mark=problem.mark or mark, path=problem.path or path)
        fit |= set() if found else {name}
    yield from _without_figure(experiment, subject, fit)


def _without_figure(experiment: Experiment, subject: Subject, fit: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each claim on a figure that its analysis never has; `fit` are those of no mistake."""
    for claim in claims_of(experiment.root, variables=experiment.vars)[0]:
        name, figure = claim.analysis or ("", "")
        one = experiment.analyses.get(name)
        known = one.words(subject) if one is not None and name in fit else {}
        if one is not None and not one.may_have(figure, known):
            hint = did_you_mean(figure, one.figures_of(known), "the figures")
            yield Problem(f"`{one.kind}` has no figure `{figure}`", hint, claim.mark, claim.path)


def problems_of(analysis: Analysis, subject: Subject, *, declared: bool = False) -> list[Problem]:
    """Return all reasons for which an analysis does not fit; of a spec that declares it, those after training too."""
    try:
        of_kind = [] if declared else _of_kind(analysis, subject)
        # what never fits comes first: a training would not help
        return [*_of_options(analysis), *analysis.problems(subject), *of_kind]
    except DlxError as error:  # such as several networks where it looks at one
        return list(error.problems)


def _of_kind(analysis: Analysis, subject: Subject) -> list[Problem]:
    """Return the problems that follow from what a kind says of itself."""
    kind, cls, found = type(analysis).kind, type(analysis), list[Problem]()
    if cls.trained and analysis.weights == "initial":
        found.append(Problem(f"`{kind}` looks at trained weights alone", "Drop `weights=initial`."))
    elif analysis.of_trained and not subject.trained:
        hint = f"Train it, then `dlx analyze {kind} RUN`: `dlx train {subject.experiment.path}`."
        found.append(Problem(f"`{kind}` looks at trained weights, and {subject.name} is a spec", hint))
    is_declared = analysis in subject.experiment.analyses.values()  # the spec sets it for draws of its own
    if (option := idle_draws(analysis, subject)) and not is_declared:
        message = f"`{option}` counts draws of the weights of a spec, and {subject.name} is a run with its own"
        found.append(Problem(message, f"Leave it out; several seeds are several runs: `dlx analyze {kind} RUN RUN`."))
    if cls.several == "no" and len(subject.runs) > 1:
        found.append(Problem(f"`{kind}` looks at one run, and here are {len(subject.runs)}", "Name one of them."))
    if cls.several == "seeds" and len(subject.runs) > 1 and (other := _unlike(subject)):
        message = f"{other} is no other seed of {subject.runs[0].key}: their specs differ in more"
        found.append(Problem(message, f"`{kind}` takes several runs as seeds of one spec: look at each alone."))
    return found


def _of_options(analysis: Analysis) -> list[Problem]:
    """Return a problem for each option that is set and changes nothing."""
    idle = {name: why for name, why in analysis.without_effect().items() if name in analysis.model_fields_set}
    if (
        analysis.of_trained
        and type(analysis).several == "seeds"
        and type(analysis).weight_draws in analysis.model_fields_set
    ):
        idle[type(analysis).weight_draws] = "on trained weights: it counts draws of those before training"
    return [Problem(f"`{name}` has no effect {why}", "Leave it out.") for name, why in idle.items()]


def idle_draws(analysis: Analysis, subject: Subject) -> str:
    """Return the option that counts draws of weights where runs are looked at, which have theirs; else nothing."""
    cls = type(analysis)
    is_set = cls.several == "seeds" and cls.weight_draws in analysis.model_fields_set
    return cls.weight_draws if is_set and subject.trained else ""


def _unlike(subject: Subject) -> str:
    """Return the first run whose spec differs from that of the first run in more than the seed; empty without one."""
    first, *others = (load(run.file("spec.yaml")).with_seed(0).resolved() for run in subject.runs)
    return next((run.key for run, text in zip(subject.runs[1:], others, strict=True) if text != first), "")
