"""One stage of a spec as a spec of its own, for what looks at a single training: `--stage NAME`."""

from __future__ import annotations

from dataclasses import replace

from ..errors import Mark, Problem, SpecError, did_you_mean
from .sections.expect import CLAIMING
from .sections.experiment import Experiment
from .syntax.read import Node

STAGE = Mark("--stage")


def stage_of(experiment: Experiment, name: str) -> Experiment:
    """Return a stage as a spec without stages. The claims go with the last one, whose they are.

    Errors: SpecError where the spec has no stages, or none of that name.
    """
    found = next((stage.experiment for stage in experiment.stages if stage.name == name), None)
    if found is None:
        names = [stage.name for stage in experiment.stages]
        message = f"there is no stage `{name}`" if names else f"there is no stage `{name}`: the spec has no `stages`"
        raise SpecError(Problem(message, did_you_mean(name, names) if names else "", STAGE))
    is_last = found.stage == experiment.stages[-1].name
    sections = {key: node for key, node in found.root.map.items() if is_last or key not in CLAIMING}
    return replace(found, root=Node(sections, found.root.mark), whole=None, stage="")
