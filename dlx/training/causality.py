"""Whether a network looks ahead that is to tell what comes next, measured before its training: it would copy that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem, SpecError
from ..lazy import torch
from ..objectives import Supervised
from ..objectives.language import Language

if TYPE_CHECKING:
    from ..spec import Experiment
    from .batches.data_part import DataPart
    from .fit import Job

TOLERANCE = 1e-4
"""Change of an output, in units of the largest one, that rounding may be the reason of."""


def check(experiment: Experiment, job: Job) -> None:
    """Raise SpecError where an output that is to tell the next input depends on a later one.

    One window goes through the network twice, the second time with another token, or value, in its middle.
    """
    objective = job.objective
    of_next_inputs = experiment.data is not None and experiment.data.targets_are_next_inputs
    if not isinstance(objective, Supervised) or not (isinstance(objective, Language) or of_next_inputs):
        return
    found = _seen_before(job, objective)
    if found is None:
        return
    middle, position = found
    what = "token" if isinstance(objective, Language) else "value"
    message = f"the network looks ahead: another {what} at position {middle} of a window changes what it gives at "
    message += f"position {position}, and {objective.kind} is to tell each {what} from those before it"
    hint = (
        "Take causal layers: `is_causal: true` of attention, no `bidirectional`, `padding: causal` of convolutions."
    )
    raise SpecError(Problem(message, hint, experiment.place("network"), "network"))


def _place_of(objective: Supervised, part: DataPart) -> int:
    """Return the number of the input that holds what stands before each token, or value, that is told."""
    names = part.names.inputs
    return names.index(objective.causal_input(names, part.main)) if isinstance(objective, Language) else 0


def _seen_before(job: Job, objective: Supervised) -> tuple[int, int] | None:
    """Return the middle of a window, and the first position before it whose output depends on it; None for none."""
    part = job.parts["train"]
    batch = part.take(torch.zeros(1, dtype=torch.long, device=part.x.device))
    inputs, place = list(batch.inputs), _place_of(objective, part)
    x = inputs[place]
    middle, network = x.shape[-1] // 2, job.network.eval()
    other = x.clone()
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        first = objective.main(network(*inputs))
        other[..., middle] = x[..., middle] + 1 if x.is_floating_point() else (x[..., middle] + 1) % first.shape[1]
        inputs[place] = other
        second = objective.main(network(*inputs))
    job.learner.set_training_mode()
    if first.shape[-1] != x.shape[-1]:  # such as those of `crop: center`, whose places are others
        return None
    apart = (first - second).abs().flatten(1, -2).amax(1)[0, :middle]
    found = torch.nonzero(apart > TOLERANCE * first.abs().max()).flatten().tolist()
    return (middle, found[0]) if found else None
