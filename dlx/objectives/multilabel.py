"""Multi-label classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..lazy import np, torch
from ..losses import LOSSES, Loss
from ..metrics.labels import PerLabel
from ..registry import Choice
from ..shapes import Shape
from .binary_classification import POS_WEIGHT, Probability, logits_of
from .label_names import LabelNames
from .supervised import EvaluationMeters, Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from ..metrics import Meter, Metric, Mode


class Multilabel(Supervised):
    """Say of each label whether an example has it: one logit a label, and any number of labels an example.

    Shapes: outputs (N, labels), targets (N, labels) of 0 and 1. Metrics: exact_match (share of examples of which all
    labels are right) and hamming_loss (share of labels that are wrong). Others that can be asked for: f1, precision,
    recall, iou, auroc and auprc (average precision), averaged over the labels, and with `per_label` also of each.
    scikit-learn: accuracy_score and hamming_loss of label indicators. torchmetrics: MultilabelExactMatch and
    MultilabelHammingDistance.
    """

    kind: ClassVar[str] = "multilabel"
    field_hints: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("class_weights", "class_weight", "pos_weight"), POS_WEIGHT
    )
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("binary_cross_entropy"), description="what training makes small"
    )
    threshold: Probability | Annotated[list[Probability], Field(min_length=1)] = Field(
        0.5, description="probability above which a label is predicted: one, or one a label"
    )
    labels: LabelNames = Field([], description="names of the labels in their order; else their numbers")
    per_label: bool = Field(False, description="metrics of each label beside their average, as `f1/NAME`")
    default_metrics: ClassVar[tuple[str, ...]] = ("exact_match", "hamming_loss")
    higher_is_better: ClassVar[tuple[str, ...]] = ("exact_match",)
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads"]] = "labels"

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is not None or facts.target is None or facts.target.rank != 1:
            has = f"{facts.classes} classes" if facts.classes is not None else f"targets of shape {facts.target}"
            return Problem(
                f"multilabel wants targets of 0 and 1, one a label, and the data has {has}",
                "Give several columns of 0 and 1 as the target, with `task: regression`."
                if facts.classes is not None
                else "Use `objective: regression`.",
            )
        count = facts.target[0]
        for name, setting in (("labels", self.labels), ("threshold", self.threshold)):
            if isinstance(setting, list) and setting and len(setting) != count:
                return Problem(f"`{name}` of multilabel has {len(setting)} values, and the data has {count} labels")
        if self.loss.wants != "values":
            return Problem(
                f"the loss {self.loss.kind} wants {self.loss.wants}, and multilabel has labels of 0 and 1",
                f"Use `loss: {'binary_hinge' if 'hinge' in self.loss.kind else 'binary_cross_entropy'}`.",
            )
        if check_shape := self.loss.check_shape(facts.target):
            return Problem(check_shape)
        if tuple(output) == tuple(facts.target) == tuple(self.loss.outputs(facts.target)):
            return None
        return Problem(
            f"the network ends in {output}, and the data has {count} labels",
            f"Let the last layer be `linear: {count}`." if output.rank == 1 else "Add `flatten` and a `linear`.",
        )

    def check_targets(self, targets: Any) -> str:
        strange = targets[(targets != 0) & (targets != 1)]
        return f"multilabel is for targets of 0 and 1, and {strange[0]:.4g} is among these" if len(strange) else ""

    def target_statistics(
        self, targets: Any, classes: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Any]:
        found = super().target_statistics(targets, classes, names)
        named = not self.labels and len(names) == targets.shape[1] and len(set(names)) == len(names)
        return found | ({"labels": list(names)} if named else {})

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        made = super().fitted(statistics) if "positives" in statistics else self
        labels = statistics.get("labels")
        return made if labels is None else made.model_copy(update={"labels": list(labels)})

    def positives(self, targets: Any, classes: int | None) -> tuple[list[int], int]:
        return np.asarray(targets).sum(0).astype(int).tolist(), len(targets)

    def at(self, threshold: float) -> Self:
        """Return the objective with one threshold for all labels."""
        return self.model_copy(update={"threshold": threshold})

    def predicted(self, output: Tensor) -> Tensor:
        """Return whether each label is predicted, (N, labels)."""
        probabilities = self.loss.predict(output)
        return probabilities > self._thresholds(probabilities)

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        right = self.predicted(output) == (target > 0.5)
        return {"exact_match": right.all(1).float().mean(), "hamming_loss": (~right).float().mean()}

    def modes(self) -> dict[str, Mode]:
        found = super().modes()
        each = self.labels if self.per_label else []
        return found | {f"{metric.name}/{label}": metric.mode for metric in self.metrics for label in each}

    def scores(self, output: Tensor) -> Tensor:
        return logits_of(self.loss, output)

    def meter_of(self, metric: Metric, scores: Tensor) -> Meter:
        return metric.label_meter(self._thresholds(scores))

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        return LabelMeters(self) if self.per_label else EvaluationMeters(self)

    def _thresholds(self, like: Tensor) -> Tensor:
        setting = self.threshold if isinstance(self.threshold, list) else [self.threshold] * like.shape[1]
        return torch.tensor(setting, device=like.device, dtype=like.dtype)


class LabelMeters(EvaluationMeters):
    """Accumulates loss and metrics, and reports those of each label too."""

    def result(self) -> dict[str, float]:
        found = super().result()
        for name, meter in self.meters.items():
            assert isinstance(meter, PerLabel)
            each = meter.each().tolist()
            assert isinstance(self.objective, Multilabel)
            names = self.objective.labels or list(map(str, range(len(each))))
            found |= {f"{name}/{label}": value for label, value in zip(names, each, strict=True)}
        return found
