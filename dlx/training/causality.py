"""Whether a language model looks ahead, measured before its training: it would copy what it is to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem, SpecError
from ..lazy import torch
from ..objectives.language import Language

if TYPE_CHECKING:
    from ..spec import Experiment
    from .batches.data_part import DataPart
    from .fit import Job

TOLERANCE = 1e-4
"""Change of an output, in units of the largest one, that rounding may be the reason of."""


def check(experiment: Experiment, job: Job) -> None:
    """Raise SpecError where an output of a language model depends on a later token.

    One window goes through the network twice, the second time with another token in its middle.
    """
    if not isinstance(job.objective, Language):
        return
    position = _seen_before(job, job.objective)
    if position is None:
        return
    part = job.parts["train"]
    middle = part.fields[part.names.inputs[_place_of(job.objective, part)]].shape[1] // 2
    message = f"the network looks ahead: another token at position {middle} of a window changes what it gives at "
    message += f"position {position}, and {job.objective.kind} is to tell each token from those before it"
    hint = "Take causal layers: `is_causal: true` of attention, no `bidirectional`, convolutions padded on the left."
    raise SpecError(Problem(message, hint, experiment.place("network"), "network"))


def _place_of(objective: Language, part: DataPart) -> int:
    """Return the number of the input that holds the tokens before each one that is told."""
    names = part.names.inputs
    return names.index(objective.causal_input(names, part.main))


def _seen_before(job: Job, objective: Language) -> int | None:
    """Return the first position whose output depends on the token in the middle of the window; None for none."""
    part = job.parts["train"]
    batch = part.take(torch.zeros(1, dtype=torch.long, device=part.x.device))
    inputs, place = list(batch.inputs), _place_of(objective, part)
    x = inputs[place]
    middle, network = x.shape[1] // 2, job.network.eval()
    other = x.clone()
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        first = objective.main(network(*inputs))
        other[:, middle] = (x[:, middle] + 1) % first.shape[1]
        inputs[place] = other
        second = objective.main(network(*inputs))
    job.learner.set_training_mode()
    apart = (first - second).abs().amax(1)[0, :middle]
    found = torch.nonzero(apart > TOLERANCE * first.abs().max()).flatten().tolist()
    return found[0] if found else None
