"""The graphs of a whole spec: those of its training, or of each of its stages, which must fit each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ..errors import Problem, SpecError
from ..shapes import Shape
from ..spec import Experiment
from ..spec.one_stage import stage_of
from ..spec.sections.networks import ONE
from .graph import Graph
from .graphs import Graphs
from .inputs import all_input_shapes
from .trace import in_file_order, trace_training

Inputs = Mapping[str, Mapping[str, Shape]]


def trace(experiment: Experiment, inputs: Mapping[str, Shape] | None = None) -> Graph:
    """Return the graph of a spec with one network, for its own inputs or for `inputs`; of stages, that of the last.

    Errors: SpecError with every mistake of the spec, or where it has `networks`.
    """
    if experiment.networks:
        names = ", ".join(f"`{name}`" for name in experiment.networks)
        message = f"this takes a spec with one `network`, and this one has `networks`: {names}"
        hint = "Write the network that is meant as `network` in a spec of its own."
        raise SpecError(Problem(message, hint, experiment.place("networks"), "networks"))
    return trace_all(experiment, {ONE: inputs} if inputs else None).one


def trace_all(experiment: Experiment, inputs: Inputs | None = None) -> Graphs:
    """Return the graphs of all networks of a spec, for their own inputs or for `inputs`, by network.

    Of a spec with stages they are those of the last one, and `stages` has those of each; `inputs` are for the last.
    Errors: SpecError with every mistake of the spec and of all its stages, in the order of the file.
    """
    if inputs or not experiment.stages:
        return trace_training(experiment, inputs)
    each, found = dict[str, Graphs](), dict[str, list[Problem]]()
    for stage in experiment.stages:
        try:
            each[stage.name] = trace_training(stage.experiment)
        except SpecError as error:
            # those of an earlier stage that a network comes from are told as that stage's
            own = stage.experiment.problems
            others = {one for other in experiment.stages for one in other.experiment.problems if one not in own}
            found[stage.name] = [one for one in error.problems if one not in others]
    problems = with_misfits(experiment, each, found)
    if problems:
        raise SpecError(*problems)
    return of_all(experiment, each)


def of_all(experiment: Experiment, each: Mapping[str, Graphs]) -> Graphs:
    """Return the graphs of the last stage, with those of `each` and the warnings of all, each once."""
    warnings = {name: graphs.warnings for name, graphs in each.items()}
    last = each[experiment.stages[-1].name]
    found = experiment.problems_of_stages(warnings) + experiment.overrides_without_effect()
    return replace(last, stages=each, warnings=tuple(found))


def traced(experiment: Experiment, stage: str | None = None, shapes: Sequence[str] = ()) -> tuple[Experiment, Graphs]:
    """Return a spec, or one stage of it as a spec of its own, with its graphs for inputs of other `shapes`.

    Errors: SpecError with every mistake of the spec, or where it has no such stage.
    """
    if stage is None:
        return experiment, trace_all(experiment, all_input_shapes(experiment, shapes))
    one, whole = stage_of(experiment, stage), trace_all(experiment)
    return one, trace_training(one, all_input_shapes(one, shapes)) if shapes else whole.stages[stage]


def with_misfits(
    experiment: Experiment, each: Mapping[str, Graphs], found: Mapping[str, list[Problem]]
) -> list[Problem]:
    """Return the mistakes found in stages, and those of weights that do not fit between two of them, each once.

    `each` has the graphs of the stages without mistakes. They come in the order of the file.
    """
    from .initial_weights import carried  # not at the top: pydantic builds a class that few specs need

    problems = [*experiment.problems, *experiment.problems_of_stages(found)]
    for one, other in pairwise(stage.name for stage in experiment.stages):
        if one in each and other in each:
            problems += carried(each[one], each[other], (one, other)).problems
    if any(stage.experiment.prune is not None for stage in experiment.stages):
        from .pruning import rewound_elsewhere  # likewise

        problems += rewound_elsewhere(experiment, each)
    return sorted(problems, key=in_file_order)
