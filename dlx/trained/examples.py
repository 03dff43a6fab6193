"""A part of the data example by example: outputs as an evaluation computes them, and the loss of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..lazy import torch
from ..objectives import Supervised
from ..objectives.ensemble import combined
from ..objectives.sample_weights import one_by_one
from ..objectives.supervised import Head
from ..training.batches.windows import CarriedPart
from ..training.ensemble_metrics import answers_of_each
from ..training.learner import EVALUATION_BATCH

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch
    from ..training.fit import Job


def heads_of(job: Job, option: str) -> list[Head]:
    """Return the heads of a job, one without a name where it has one objective. DlxError where it has phases."""
    if not isinstance(job.objective, Supervised):
        message = f"`{option}` is for a network that learns targets, and `{job.objective.kind}` has phases"
        raise DlxError(message, hint="Leave it out.")
    return job.objective.heads(job.parts["train"].names.targets)


def batches_of(jobs: Sequence[Job], part: str) -> Iterator[tuple[Any, Batch]]:
    """Iterate over outputs and batches of a part in its order, as an evaluation computes them.

    The outputs of several networks are averaged as those of an ensemble. DlxError where they are given different
    examples.
    """
    if any(isinstance(job.parts[part], CarriedPart) for job in jobs):
        message = "windows whose states go on (`carry: true`) are no examples that could be looked at one by one"
        raise DlxError(message, hint="Evaluate the run on data without `carry`: `--data carry=false`.")
    networks = [job.learner.compute.of(job.network.eval()) for job in jobs]
    parts = [job.parts[part] for job in jobs]
    with torch.inference_mode():
        if len(jobs) == 1:
            yield from parts[0].answers(networks[0], EVALUATION_BATCH)
            return
        objective = jobs[0].supervised.objective
        for outputs, batch in answers_of_each(list(zip(networks, parts, strict=True))):
            mains = torch.stack([objective.main(one) for one in outputs])
            yield combined(objective, mains, "average"), batch


def of_head(job: Job, head: Head, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the output of a head and its target, cropped as its loss takes it."""
    objective: Any = job.objective
    target = objective.target(batch)
    if head.name:
        outputs, target = objective.outputs_of(head.name, outputs), objective.target_of(head.name, target)
    output = head.objective.main(outputs)
    return output, head.objective.compared_target(output, target)


def losses_of(head: Head, output: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each example (n,), as if it were alone; NaN where nothing of its target counts."""
    return one_by_one(head.objective.loss_function())(output, target).double().cpu()
