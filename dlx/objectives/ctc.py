"""Sequences of labels without their places: connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ..data import Facts
from ..errors import Problem
from ..lazy import torch
from ..losses import LOSSES, Loss
from ..losses import ctc as paths
from ..metrics import Mean
from ..metrics.ctc_decoding import END, best_path, prefix_search
from ..metrics.edit_distance import edit_distance
from ..registry import Choice
from ..shapes import Shape
from .supervised import EvaluationMeters, Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Outputs

ERRORS, WHOLE, INFEASIBLE = "character_error_rate", "exact_match", "infeasible"


class CTC(Supervised):
    """Tell a sequence of labels of which nobody has said where they are; the network gives one output a position.

    An output is a label or the blank, of number `blank`; labels are what is left when repeats are merged and blanks
    dropped. A target takes a position for each label and one more between two equal ones. One that takes more than
    there are is infeasible: an error before training, or with `infeasible: leave_out` told and counted.
    Shapes: outputs (N, T, labels + 1), labels last as `linear` gives them; targets (N, L), -100 behind the end.
    Metrics: character_error_rate (edits from what is told to the target, by the labels of all targets), exact_match
        (share of examples that are told as a whole), infeasible (share of examples that have no path: their loss
        counts 0 in the mean). By the best path, or with `beam` by a search over prefixes.
    Errors: data without a sequence of labels; a blank beyond the outputs; infeasible targets.
    Source: Graves, Fernández, Gomez & Schmidhuber 2006, Connectionist temporal classification; torch: ctc_loss.
    """

    kind: ClassVar[str] = "ctc"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("ctc"), description="what training makes small: `ctc`, with its reduction"
    )
    blank: NonNegativeInt = Field(0, description="number of the output that stands for no label")
    beam: PositiveInt | None = Field(
        None, le=10_000, description="prefixes that a search keeps at each position; null: the best path"
    )
    infeasible: Literal["error", "leave_out"] = Field(
        "error", description="what becomes of targets that take more positions than there are"
    )
    default_metrics: ClassVar[tuple[str, ...]] = (ERRORS, WHOLE, INFEASIBLE)
    higher_is_better: ClassVar[tuple[str, ...]] = (WHOLE,)
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads", "sequences"]] = "sequences"

    @model_validator(mode="after")
    def _one_blank(self) -> Self:
        if self.loss.kind != "ctc":
            raise ValueError(f"ctc is learned by the loss `ctc`, and `loss` is {self.loss.kind}: leave it out")
        assert isinstance(self.loss, paths.CTC)
        blanks = [one.blank for one in (self, self.loss) if "blank" in one.model_fields_set]
        if len(set(blanks)) > 1:
            raise ValueError(f"`blank` is {blanks[0]}, and that of the loss {blanks[1]}: give it once")
        if blanks:
            object.__setattr__(self, "blank", blanks[0])
            object.__setattr__(self, "loss", self.loss.model_copy(update={"blank": blanks[0]}))
        return self

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None or facts.target is None or facts.target.rank != 1:
            has = "one class an example" if facts.classes and facts.target is None else f"targets of {facts.target}"
            hint = f"`objective: {'classification' if facts.classes else 'regression'}` learns such."
            return Problem(f"ctc wants a sequence of labels as the target, and the data has {has}", hint)
        if len(output) != 2 or output[1] != facts.classes + 1:
            hint = f"Let the last layer be `linear: {facts.classes + 1}`, at each position."
            message = f"the network ends in {output}, and ctc takes (positions, {facts.classes + 1}): "
            return Problem(f"{message}an output for each of {facts.classes} labels, and the blank", hint)
        if self.blank > facts.classes:
            message = f"`blank` is {self.blank}, and the outputs go from 0 to {facts.classes}"
            return Problem(message, f"Take 0, or {facts.classes} for the last.")
        return None

    def positions_needed(self, target: Tensor) -> Tensor:
        """Return the positions (N,) that targets (N, L) take."""
        return paths.needed(*paths.in_front(target))

    def decoded(self, output: Tensor) -> Tensor:
        """Return the labels (N, T) that outputs (N, T, labels + 1) tell, -1 behind the end."""
        if self.beam is None:
            return best_path(output, self.blank)
        return prefix_search(output, self.blank, self.beam)

    def predict(self, output: Tensor) -> Tensor:
        return self.decoded(output)

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        return CTCMeters(self)


class CTCMeters(EvaluationMeters):
    """Accumulates the loss, edits, labels, and examples that are told as a whole or have no path."""

    objective: CTC

    def __init__(self, objective: CTC) -> None:
        super().__init__(objective)
        self.counts: Tensor | int = 0
        """Edits, labels, whole sequences that are right, examples that have no path, and examples."""
        self.positions = 0

    def add(self, outputs: Outputs, target: Tensor) -> None:
        output = self.objective.main(outputs)
        share = 1 if self.summed else self.objective.loss.normalizer(target)
        self.means.setdefault("loss", Mean()).add(self.loss(output, target), share)
        labels, count = paths.in_front(target)
        decoded = self.objective.decoded(output)
        behind = torch.arange(labels.shape[1], device=labels.device) >= count.unsqueeze(1)
        edits, self.positions = edit_distance(decoded, labels.masked_fill(behind, END)), output.shape[1]
        without = paths.needed(labels, count) > self.positions
        each = (edits.sum(), count.sum(), (edits == 0).sum(), without.sum(), count.new_tensor(len(target)))
        self.counts = self.counts + torch.stack(each)

    def result(self) -> dict[str, float]:
        edits, labels, whole, without, examples = (float(one) for one in torch.as_tensor(self.counts))
        found = super().result()
        found[ERRORS] = edits / labels if labels else float("nan")
        return found | {WHOLE: whole / examples, INFEASIBLE: without / examples}

    def notes(self, class_names: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, str]:
        _, labels, _, without, examples = (int(one) for one in torch.as_tensor(self.counts))
        found = {} if labels else {ERRORS: "undefined, for no target has a label"}
        if without:
            found[INFEASIBLE] = f"{without:,} of {examples:,} targets take more than the {self.positions} positions"
        return found
