"""Pseudo-labels: a student learns the classes of few examples, and of the others those that a teacher is sure of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import pydantic

from ..data.labelled import NONE
from ..lazy import F, torch
from ..metrics import Mode
from ..schedules.values import Weight, may_count
from .base import Caller
from .teacher import STUDENT, TEACHER, OfTeacher

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch


class PseudoLabel(OfTeacher):
    """Train the network `student` on the classes that there are, and else on those that the network `teacher` gives.

    loss = cross entropy of the labelled examples + weight * (cross entropy of the unlabelled ones with the teacher's
    class, where its probability is at least `threshold`, and 0 elsewhere); each a mean over its examples of the
    batch. Without a label is an example of class number -100 (`labelled` of the data). The teacher is in evaluation
    mode and gets no gradients; a student with dropout, larger than its teacher, is a noisy one (Xie et al. 2020).
    Networks: `teacher` and `student`, from the data's input to one logit a class. Shapes: outputs (N, classes),
    targets (N,). Metrics of the student, over labelled examples: loss (its cross entropy), accuracy, error; and
    the agreement (share of examples to which both give one class).
    Source: Lee 2013, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural
    Networks, equations 14 and 15, with a teacher that is trained before; the threshold as in Sohn et al. 2020,
    FixMatch, arXiv:2001.07685, equation 4.
    """

    kind: ClassVar[str] = "pseudo_label"
    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        0.95, description="least probability at which the teacher's class counts"
    )
    weight: Weight = pydantic.Field(1.0, description="of the unlabelled examples; it may be scheduled")

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        (x,), y = batch.inputs, batch.y
        with torch.no_grad():
            probability, answers = call(TEACHER, x).softmax(1).max(1)
        student = call(STUDENT, x)
        labelled = y != NONE
        sure = ~labelled & (probability >= self.threshold)
        each = F.cross_entropy(student, torch.where(labelled, y, answers), reduction="none")
        # sums over their counts, of which one may be 0 in a batch
        found = {"cross_entropy": (each * labelled).sum() / labelled.sum().clamp(min=1)}
        if may_count(self.weight):
            found["pseudo_label"] = self.weight * (each * sure).sum() / (~labelled).sum().clamp(min=1)
        return found

    def counted(self, batch: Batch) -> int:
        return int((batch.y != NONE).sum())

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        (x,), labelled = batch.inputs, batch.y != NONE
        y, student, teacher = batch.y[labelled], call(STUDENT, x)[labelled], call(TEACHER, x)[labelled]
        answers = student.argmax(1)
        accuracy = (answers == y).float().mean()
        return {
            "loss": F.cross_entropy(student, y),
            "accuracy": accuracy,
            "error": 1 - accuracy,
            "agreement": (answers == teacher.argmax(1)).float().mean(),
        }

    def modes(self) -> dict[str, Mode]:
        return {"loss": "min", "accuracy": "max", "error": "min", "agreement": "max"}
