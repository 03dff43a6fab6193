"""What a spec declares for other commands than the one that reads it: training, analyses, the space of a sweep."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Problem, SpecError
from ..graph import Graphs, trace_all
from ..spec import Experiment


def check(experiment: Experiment, graphs: Graphs | None = None) -> None:
    """Raise SpecError where the training, the analyses or the search space of a spec do not fit the rest of it.

    `graphs` are those of the whole spec, where they are known.
    """
    if experiment.problems:
        return  # which are told by themselves
    graphs = graphs or trace_all(experiment)
    found = [*_of_training(experiment, graphs), *_of_analyses(experiment, graphs), *_of_sweep(experiment)]
    if found:
        raise SpecError(*dict.fromkeys(found))


def _of_training(experiment: Experiment, graphs: Graphs) -> Iterator[Problem]:
    """Yield what is wrong with names in `train`: of weights that groups are of, and of metrics that are followed."""
    stages = [(one.experiment, graphs.stages[one.name]) for one in experiment.stages]
    for one, own in stages or [(experiment, graphs)]:
        if one.train is not None:
            from ..training import early_stopping, freezing, parameter_groups  # not at the top: they take their time

            yield from parameter_groups.problems(one, own)
            yield from freezing.problems(one, own)
            yield from early_stopping.problems(one) if one.objective is not None else ()


def _of_analyses(experiment: Experiment, graphs: Graphs) -> Iterator[Problem]:
    if experiment.analyses:
        from . import fitting  # not at the top: few specs have analyses, or a sweep

        yield from fitting.of_declared(experiment, graphs)


def _of_sweep(experiment: Experiment) -> Iterator[Problem]:
    if experiment.sweep is not None and experiment.sweep.space:
        from ..sweeps import plan

        try:
            plan.check(experiment)
        except SpecError as error:
            yield from error.problems
