"""Connectionist temporal classification: sequences of labels without their places."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from ..lazy import F, torch
from ..shapes import Shape
from .base import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Function


class CTC(Loss):
    """-log of the probability of a sequence of labels, summed over all places that they may have among the positions.

    A path gives one output a position, a label or the blank; it stands for the labels that are left when repeats are
    merged and blanks dropped. So a sequence needs a position for each label and one more between two of a kind.
    Shapes: outputs (N, T, labels + 1) of logits, targets (N, L) of label numbers, those below 0 left out. Label k is
        the output k below the blank's number and k + 1 from it on. A mean is over the examples, each divided by its
        number of labels, of none by 1. An example that needs more positions than T has no path: it counts 0, as by
        torch's zero_infinity, and the objective `ctc` tells it. torch: ctc_loss.
    Source: Graves, Fernández, Gomez & Schmidhuber 2006, Connectionist temporal classification, section 4.
    """

    kind: ClassVar[str] = "ctc"
    wants: ClassVar[Literal["classes", "values", "boxes", "sequences"]] = "sequences"
    logits: ClassVar[bool] = True
    on_maps: ClassVar[bool] = False
    blank: NonNegativeInt = Field(0, description="number of the output that stands for no label")

    def ignores(self) -> int | None:
        return -100

    def check(self, classes: int) -> str:
        return f"the loss {self.kind} wants sequences of labels without places, which `objective: ctc` has"

    def check_shape(self, target: Shape) -> str:
        return self.check(0)

    def probabilities(self, output: Tensor) -> Tensor:
        return output.softmax(-1)

    def averaged(self, outputs: Tensor) -> Tensor:
        return torch.logsumexp(outputs.log_softmax(-1), 0) - log(len(outputs))

    def function(self) -> Function:
        def loss(output: Tensor, target: Tensor) -> Tensor:
            labels, count = in_front(target)
            fits = needed(labels, count) <= output.shape[1]
            outputs = labels + (labels >= self.blank)
            positions = torch.full_like(count, output.shape[1])
            log_p = output.log_softmax(-1).transpose(0, 1)
            # one that has no path is computed as one of no labels, whose loss and gradients are finite
            each = F.ctc_loss(log_p, outputs, positions, count * fits, self.blank, reduction="none") * fits
            return self.reduced(each / count.clamp_min(1) if self.reduction == "mean" else each)

        return loss


def in_front(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the labels of targets (N, L) before what counts not, which is then 0, and their number (N,)."""
    there = target >= 0
    order = (~there).to(torch.int8).argsort(dim=1, stable=True)
    return target.gather(1, order).clamp_min(0), there.sum(1)


def needed(labels: Tensor, count: Tensor) -> Tensor:
    """Return the positions (N,) that `count` labels in front of (N, L) take: one each, and one between equal ones."""
    places = torch.arange(1, labels.shape[1], device=labels.device)
    repeated = (labels[:, 1:] == labels[:, :-1]) & (places < count.unsqueeze(1))
    return count + repeated.sum(1)
