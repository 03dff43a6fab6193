"""What the objective of a training, or of a trained run, makes with the weights that its networks have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from ...objectives.base import Sheet
from ...sheets.sheet import Drawing
from ..phased import Phased

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.batch import Batch
    from ...objectives import Caller, Objective
    from ..fit import Job

EXAMPLES = 1000
"""Examples beside samples, at most."""


def without_traces(job: Job, make: Callable[[Objective, Caller], Any]) -> Any:
    """Return what `make` gives of the objective and the networks, in evaluation; the training is as before it."""
    learner = job.learner
    assert isinstance(learner, Phased), "one network that learns targets makes no samples"
    learner.module.eval()
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            return make(learner.evaluated, learner.call)
    finally:
        learner.set_training_mode()


def examples_of(job: Job, n: int) -> Batch:
    """Return up to `n` examples of the validation part, of the training part where there is none."""
    part = job.parts.get("valid") or job.parts["train"]
    return next(iter(job.learner.feed.evaluation(part, n)))


def pictures(job: Job, n: int, rng: torch.Generator) -> dict[str, Drawing]:
    """Return the sheets that the objective of a training shows, with examples of the data beside them."""
    batch = examples_of(job, n)
    made = without_traces(job, lambda objective, call: objective.pictures(call, batch, n, rng))
    beside = examples_of(job, EXAMPLES)
    return {name: drawing(one if isinstance(one, Sheet) else Sheet(one), beside) for name, one in made.items()}


def drawing(sheet: Sheet, beside: Batch) -> Drawing:
    """Return a sheet as it is drawn, beside the first field of examples that has its shape."""
    values = as_array(sheet.values)
    shape = values.shape[1:] if values.ndim < 5 else values.shape[2:]
    same = (one for one in beside.fields.values() if tuple(one.shape[1:]) == tuple(shape) and one.is_floating_point())
    real = next(same, None)
    classes = None if sheet.classes is None else as_array(sheet.classes)
    return Drawing(values, classes, None if real is None else as_array(real))


def as_array(x: Tensor) -> Any:
    """Return a tensor as an array on the host, in single precision where it is of floating point."""
    x = x.detach().cpu()
    return (x.float() if x.is_floating_point() else x).numpy()
