"""Distillation: a student learns the classes, and the probabilities that a trained teacher gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import pydantic

from ..lazy import F, torch
from ..metrics import Mode
from ..schedules.values import Positive, Probability, may_count
from .base import Caller
from .teacher import STUDENT, TEACHER, OfTeacher

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch


class Distillation(OfTeacher):
    """Train the network `student` on the classes and on the softened probabilities of the network `teacher`.

    loss = alpha T^2 KL(softmax(teacher / T) || softmax(student / T)) + (1 - alpha) cross entropy of the classes,
    each a mean over the examples. The factor T^2 keeps the size of the gradients while T varies. The teacher is in
    evaluation mode and gets no gradients.
    Networks: `teacher` and `student`, from the data's input to one logit a class. Shapes: outputs (N, classes),
    targets (N,). Metrics of the student: loss (its cross entropy), accuracy, error, and of both the divergence
    (KL at T, without alpha T^2) and the agreement (share of examples to which they give one class).
    Source: Hinton, Vinyals & Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 2.
    """

    kind: ClassVar[str] = "distillation"
    temperature: Positive = pydantic.Field(
        4.0, description="T, by which the logits of both are divided; it may be scheduled"
    )
    alpha: Probability = pydantic.Field(
        0.9, description="weight of the teacher's probabilities; the classes have the rest; it may be scheduled"
    )

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        (x,) = batch.inputs
        with torch.no_grad():
            teacher = call(TEACHER, x)
        student = call(STUDENT, x)
        found = {}
        # a term without weight is left out: its network may give what has no gradient there
        if may_count(self.alpha):
            found["divergence"] = self.alpha * self.temperature**2 * self.divergence(student, teacher)
        if may_count(1 - self.alpha):
            found["cross_entropy"] = (1 - self.alpha) * F.cross_entropy(student, batch.y)
        return found

    def divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return KL(teacher || student) of softened probabilities, a mean over examples, from logits (N, classes)."""
        t = self.temperature
        target, output = (teacher / t).log_softmax(1), (student / t).log_softmax(1)
        return F.kl_div(output, target, reduction="batchmean", log_target=True)

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        (x,) = batch.inputs
        teacher, student = call(TEACHER, x), call(STUDENT, x)
        answers = student.argmax(1)
        accuracy = (answers == batch.y).float().mean()
        return {
            "loss": F.cross_entropy(student, batch.y),
            "accuracy": accuracy,
            "error": 1 - accuracy,
            "divergence": self.divergence(student, teacher),
            "agreement": (answers == teacher.argmax(1)).float().mean(),
        }

    def modes(self) -> dict[str, Mode]:
        best: dict[str, Mode] = {"loss": "min", "accuracy": "max", "error": "min"}
        return {**best, "divergence": "min", "agreement": "max"}
