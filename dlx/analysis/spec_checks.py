"""What a spec declares for other commands than the one that reads it: its analyses, and the space of a sweep."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Problem, SpecError
from ..graph import Graphs, trace_all
from ..spec import Experiment


def check(experiment: Experiment, graphs: Graphs | None = None) -> None:
    """Raise SpecError where the analyses or the search space of a spec do not fit the rest of it.

    `graphs` are those of the whole spec, where they are known.
    """
    if experiment.problems:
        return  # which are told by themselves
    if found := [*_of_analyses(experiment, graphs), *_of_sweep(experiment)]:
        raise SpecError(*found)


def _of_analyses(experiment: Experiment, graphs: Graphs | None) -> Iterator[Problem]:
    if experiment.analyses:
        from . import declared  # not at the top: few specs have analyses, or a sweep

        try:
            declared.check(experiment, graphs or trace_all(experiment))
        except SpecError as error:
            yield from error.problems


def _of_sweep(experiment: Experiment) -> Iterator[Problem]:
    if experiment.sweep is not None and experiment.sweep.space:
        from ..sweeps import plan

        try:
            plan.check(experiment)
        except SpecError as error:
            yield from error.problems
