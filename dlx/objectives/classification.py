"""Classification into several classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..lazy import np, torch
from ..losses import LOSSES, Loss
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Function


CLASS_WEIGHTS = (
    "Class weights are those of the loss: `loss: {cross_entropy: {weight: balanced}}`, or a list of numbers in place "
    "of `balanced`."
)


class Classification(Supervised):
    """Classify each example; the network gives one logit a class.

    A loss that wants values (squared error) gets the target as a vector with a one at the class.
    Shapes: outputs (N, classes), targets (N,). Metrics: accuracy (share of examples whose largest logit is the
    target) and error = 1 - accuracy. Others that can be asked for: top_k_error, precision, recall, f1, auroc,
    calibration_error, perplexity, iou, confusion_matrix.
    """

    kind: ClassVar[str] = "classification"
    field_hints: ClassVar[Mapping[str, str]] = dict.fromkeys(("class_weights", "class_weight"), CLASS_WEIGHTS)
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("cross_entropy"), description="what training makes small"
    )
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "error")

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None:
            return Problem(
                f"classification wants classes, and the data has targets of shape {facts.target}",
                "Use `objective: regression`.",
            )
        if facts.target is not None:
            return Problem(
                f"classification has one class an example, and the data one at each position of {facts.target}",
                f"Use `objective: {_at_positions(facts)}`.",
            )
        if tuple(output) == (facts.classes,):
            return self.check_loss(facts.classes)
        return Problem(
            f"the network ends in {output}, and the data has {facts.classes} classes",
            f"Let the last layer be `linear: {facts.classes}`."
            if output.rank == 1
            else "Add `flatten` and a `linear`.",
        )

    def check_loss(self, classes: int) -> Problem | None:
        """Return the problem between the loss and the number of classes; None where they fit."""
        message = self.loss.check(classes)
        return Problem(message) if message else None

    def positives(self, targets: Any, classes: int | None) -> tuple[list[int], int]:
        ignored = self.loss.ignores()
        counted = targets.reshape(-1) if ignored is None else targets[targets != ignored]
        return np.bincount(counted, minlength=classes or 0).tolist(), len(counted)

    def loss_function(self) -> Function:
        loss = self.loss.function()
        if self.loss.wants == "classes":
            return loss
        return lambda output, target: loss(output, vectors(target, output))

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        hits = output.argmax(1) == target
        ignored = self.loss.ignores()
        if ignored is None:
            accuracy = hits.float().mean()
        else:
            accuracy = (hits & (target != ignored)).sum() / self.count(target).clamp_min(1)
        return {"accuracy": accuracy, "error": 1 - accuracy}

    def count(self, target: Tensor) -> Tensor:
        ignored = self.loss.ignores()
        return torch.tensor(target.numel()) if ignored is None else (target != ignored).sum()


def vectors(target: Tensor, output: Tensor) -> Tensor:
    """One-hot encode targets on axis 1. F.one_hot would check the values, which makes the host wait for the
    device.
    """
    classes = torch.arange(output.shape[1], device=output.device).view(-1, *(1,) * (output.dim() - 2))
    return (target.unsqueeze(1) == classes).to(output.dtype)


def _at_positions(facts: Facts) -> str:
    """Return the objective of data that has a class at each position of a target."""
    if facts.target_name in facts.texts:
        return "translation"
    if facts.vocabulary is not None and len(facts.target or ()) == 1:
        return "language"
    return "segmentation" if len(facts.target or ()) > 1 else "sequence_labelling"
