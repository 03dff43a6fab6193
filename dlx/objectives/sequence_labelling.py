"""Labels of sequences: a class for each of their positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from ..data import Facts
from ..errors import Problem
from ..metrics import Mode
from ..metrics.classification import ByClass
from ..metrics.sequences import ExactMatch
from ..shapes import Shape
from .at_positions import AtPositions
from .label_names import LabelNames
from .supervised import EvaluationMeters

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Outputs

WHOLE = "exact_match"
"""Name of the share of sequences whose labels are all right."""


class SequenceLabelling(AtPositions):
    """Tell the label of each position of a sequence, such as the part of speech of each word.

    Positions that do not count, such as those behind the end of a sequence, have the class number `ignore_index` of
    cross_entropy, -100.
    Shapes: outputs (N, T, classes), classes last as `linear` gives them; targets (N, T). Metrics: accuracy (share of
        the positions that count whose largest logit is the target), error = 1 - accuracy, and exact_match (share of
        the sequences that are right at each of these). Others that can be asked for: f1, precision, recall, iou,
        auroc and auprc, averaged over the labels, and with `per_label` also of each; top_k_error, perplexity,
        calibration_error, confusion_matrix.
    Errors: data without a class at each position of a sequence; a loss of one target an example.
    Source: Jurafsky & Martin, Speech and Language Processing, 3rd edition, chapter 17. torchmetrics: F1Score and
        multiclass_exact_match.
    """

    kind: ClassVar[str] = "sequence_labelling"
    labels: LabelNames = Field([], description="names of the labels in their order; else those of the data")
    per_label: bool = Field(False, description="metrics of each label beside their average, as `f1/NAME`")
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "error", WHOLE)
    higher_is_better: ClassVar[tuple[str, ...]] = ("accuracy", WHOLE)

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None or facts.target is None or facts.target.rank != 1:
            has = f"{facts.classes} classes, one an example" if facts.classes else f"targets of shape {facts.target}"
            hint = "Use `objective: classification`." if facts.classes else "Use `objective: regression`."
            if facts.classes is not None and facts.target is not None:
                has, hint = f"one at each position of {facts.target}", "Use `objective: segmentation`."
            message = "sequence_labelling wants a label at each position of a sequence, and the data has"
            return Problem(f"{message} {has}", hint)
        if not self.loss.on_maps:
            message = (
                f"the loss {self.loss.kind} wants one target an example, and sequence_labelling has one a position"
            )
            return Problem(message, "Use `loss: cross_entropy`.")
        if self.labels and len(self.labels) != facts.classes:
            count = len(self.labels)
            return Problem(
                f"`labels` of sequence_labelling has {count} names, and the data has {facts.classes} labels"
            )
        (length,) = facts.target
        if tuple(output) == (length, facts.classes):
            return self.check_loss(facts.classes)
        message = f"the network ends in {output}, and the data has {facts.classes} labels at {length:,} positions"
        hint = f"Let the last layer be `linear: {facts.classes}`."
        if tuple(output) == (facts.classes, length):
            hint = "Labels are on the last axis here: leave out the `transpose`."
        elif len(output) == 2 and output[1] == facts.classes and facts.target_name in facts.texts:
            hint = f"Give both texts one length: `length: {length}` at the input. A target of text ends in `<end>`."
        elif len(output) != 2 or output[0] != length:
            hint = f"Keep the axis of the {length:,} positions, as `flatten` does not, and end in the labels. {hint}"
        return Problem(message, hint)

    # --- names of the labels ----------------------------------------------------------------------------------------

    def target_statistics(
        self, targets: Any, classes: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Any]:
        found = super().target_statistics(targets, classes, names)
        named = self.per_label and not self.labels and len(names) == classes and len(set(names)) == len(names)
        return found | ({"labels": list(names)} if named else {})

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        made = super().fitted(statistics) if "positives" in statistics else self
        labels = statistics.get("labels")
        return made if labels is None else made.model_copy(update={"labels": list(labels)})

    # --- evaluation -------------------------------------------------------------------------------------------------

    def modes(self) -> dict[str, Mode]:
        found = super().modes()
        each = self.labels if self.per_label else []
        averaged = [metric for metric in self.metrics if metric.of_labels]
        return found | {f"{metric.name}/{label}": metric.mode for metric in averaged for label in each}

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        return SequenceMeters(self)


class SequenceMeters(EvaluationMeters):
    """Accumulates loss and metrics, whole sequences that are right, and where it is asked for those of each label."""

    objective: SequenceLabelling

    def __init__(self, objective: SequenceLabelling) -> None:
        super().__init__(objective)
        self.whole = ExactMatch()

    def add(self, outputs: Outputs, target: Tensor) -> None:
        super().add(outputs, target)
        output = self.objective.main(outputs)
        if WHOLE not in self.meters:
            self.meters[WHOLE] = self.whole.meter(output, self.objective.loss.ignores())
        self.meters[WHOLE].update(output, target)

    def result(self) -> dict[str, float]:
        found = super().result()
        for name, meter in self.meters.items():
            if self.objective.per_label and isinstance(meter, ByClass):
                each = meter.of_classes().tolist()
                names = self.objective.labels or list(map(str, range(len(each))))
                found |= {f"{name}/{label}": value for label, value in zip(names, each, strict=True)}
        return found
