"""The loss of a network on examples, as a function of the weights alone; and a training step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Problem
from ..lazy import torch
from ..objectives import Supervised
from ..spec import objective_of
from .measures.classifier import classes_of

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..data.batch import Batch
    from .subject import Subject

    Loss = Callable[[], Tensor]


def problems(subject: Subject) -> list[Problem]:
    """Return why a subject has no loss of one network: no data, or an objective with phases of its own."""
    if not subject.has_data:
        hint = "Add it to the spec, or override it: `+data=digits`."
        return [Problem(f"a loss is of examples with targets, and {subject.name} names no `data`", hint)]
    found, objective = [], objective_of(subject.experiment)
    if not isinstance(objective, Supervised):
        message = f"a loss of one network is looked at, and `{objective.kind}` has phases of its own"
        hint = "Take an `objective` with targets, such as `classification`."
        found.append(Problem(message, hint, subject.mark("objective")))
    elif not subject.graph.params:
        found.append(Problem(f"{subject.name} has no weights", "Take a network with a layer that learns."))
    return found


def loss_at(subject: Subject, network: fx.GraphModule, batch: Batch) -> Loss:
    """Return the loss of the batch at the weights that the network has when it is called; without penalties."""
    of = loss_of_outputs(subject, batch)
    return lambda: of(network(*batch.inputs))


def loss_of_outputs(subject: Subject, batch: Batch) -> Callable[[Any], Tensor]:
    """Return the loss of a batch as a function of the outputs that a network gives for it; without penalties."""
    objective, loss = subject.supervised, subject.loss_function()
    target = objective.target(batch)
    return lambda outputs: loss(objective.main(outputs), target)


def in_float64(batch: Batch) -> Batch:
    """Return a batch whose floats are of 64 bits."""
    fields = {name: one.double() if one.is_floating_point() else one for name, one in batch.fields.items()}
    return replace(batch, fields=fields)


def descent(subject: Subject) -> Iterator[fx.GraphModule]:
    """Train the spec of a subject as `dlx train` does, and yield its network before and after each update."""
    from ..experiment.session import job_of
    from ..training import initial_weights
    from ..training.fit import updates

    prepared = subject.prepared
    named = prepared.experiment.weights is not None
    job = job_of(prepared, initial=[initial_weights.load(prepared.experiment, prepared.graphs)] if named else ())
    yield job.network  # type: ignore[misc]
    for _ in updates(job, []):
        yield job.network  # type: ignore[misc]


class Evaluation(NamedTuple):
    """The mean loss over examples, and the share of them with a wrong class; NaN where there are none."""

    loss: float
    error: float


def evaluated(subject: Subject, network: fx.GraphModule, batch: Batch) -> Evaluation:
    """Evaluate a network on a batch, as many examples at a time as an evaluation of dlx takes."""
    from ..training.batches.data_part import examples_at_once

    objective, function = subject.supervised, subject.loss_function()
    x = batch.inputs[0]
    size = examples_at_once(x.shape[1:], x.device, len(batch))
    total, divisor, wrong, labels = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for piece in batch.pieces(size):
            output, target = objective.main(network(*piece.inputs)), objective.target(piece)
            share = 1.0 if objective.loss.reduction == "sum" else float(objective.loss.normalizer(target))
            total += float(function(output, target)) * share
            divisor += share
            if objective.measures == "classes" and output.dim() == 2 and target.dim() == 1:
                wrong, labels = wrong + int((classes_of(objective, output) != target).sum()), labels + len(target)
    mean = total if objective.loss.reduction == "sum" else total / max(divisor, 1e-30)
    return Evaluation(mean, wrong / labels if labels else math.nan)
