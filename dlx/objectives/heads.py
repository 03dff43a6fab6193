"""Several objectives side by side, each of an output of its own: heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..data.base import Field as DataField
from ..data.batch import Batch
from ..errors import Problem, did_you_mean
from ..lazy import torch
from ..losses import Loss
from ..metrics import Metric, Mode
from ..registry import Choice
from .base import OBJECTIVES, Values
from .sample_weights import Weighted
from .supervised import EvaluationMeters, Head, Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Function, Outputs

RESERVED = ("objective", "network", "data", "x")
"""Names that a head cannot have: other words of a spec."""
OF_ALL = ("l1", "l2", "max_norm", "flooding")
"""Fields that stand beside the heads, for they are about the weights or the loss of all."""


@dataclass(frozen=True)
class Piece:
    """Targets of a piece of an update, and the factor on the loss of each head, by name."""

    target: Any
    shares: Mapping[str, Tensor | float]


class _SumOfHeads(Loss):
    """Stands for the loss of all heads where one is asked for: outputs of several heads have no common mean."""

    wants: ClassVar[Literal["classes", "values", "boxes"]] = "values"
    averageable: ClassVar[bool] = False


_SumOfHeads.kind = "heads"  # not in the class, which would make it a loss that a spec can name


class Heads(Supervised):
    """Train several outputs of one network, each by an objective of its own: multi-task learning.

    `objective: {price: regression, sold: classification}` is short for `heads: {of: ...}`. A head reads the output of
    its name and the target of its name, or the one that its `field` names; where there is one target, each head reads
    it. The loss is the sum of the heads' losses, each times its `weight`. With `weighting: uncertainty` factors are
    learned: a loss L becomes exp(-s) L + s / 2, a squared error exp(-s) L / 2 + s / 2, where s is the log variance of
    the head. The s are parameters `objective/NAME`, which begin at 0 and are trained with the weights.
    Metrics: those of each head, as NAME/METRIC; `loss` is the sum that is minimised.
    Errors: heads in heads; `l1`, `l2`, `max_norm` or `flooding` in a head; a `weight` beside learned factors.
    Source: Caruana 1997, Multitask learning; Kendall, Gal & Cipolla 2018, arXiv:1705.07115, equations 7 and 10.
    """

    kind: ClassVar[str] = "heads"
    loss: ClassVar[Loss] = _SumOfHeads()  # type: ignore[misc]
    metrics: ClassVar[list[Metric]] = []  # type: ignore[misc]
    aux: ClassVar[dict[str, float]] = {}  # type: ignore[misc]
    field: ClassVar[None] = None  # type: ignore[misc]
    weight: ClassVar[float] = 1.0  # type: ignore[misc]
    of: Annotated[dict[str, Supervised], Choice(OBJECTIVES)] = Field(
        min_length=1, max_length=100, description="objectives by the name of the output that each reads"
    )
    weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="factors of the losses: the `weight` of each head, or learned ones"
    )
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads"]] = "heads"

    @field_validator("of")
    @classmethod
    def _heads_that_can_be(cls, of: dict[str, Supervised]) -> dict[str, Supervised]:
        for name, head in of.items():
            if not name.isidentifier() or name in RESERVED or name in OBJECTIVES:
                raise ValueError(
                    f"a head cannot be called `{name}`: letters, digits and `_`, and no other word of specs"
                )
            if isinstance(head, Heads):
                raise ValueError(f"the head `{name}` has heads of its own: write all of them side by side")  # noqa: TRY004
            if there := next((one for one in OF_ALL if getattr(head, one)), None):
                raise ValueError(f"`{there}` is of all heads: write it beside `of`, and not in `{name}`")
        return of

    @model_validator(mode="after")
    def _factors_once(self) -> Self:
        weighed = next((name for name, head in self.of.items() if head.weight != 1), None)
        if self.weighting == "uncertainty" and weighed is not None:
            raise ValueError(f"`weight` of `{weighed}` stands beside `weighting: uncertainty`, which learns it")
        return self

    # --- outputs and targets ----------------------------------------------------------------------------------------

    def heads(self, targets: Sequence[str]) -> list[Head]:
        return [Head(name, head, field_of(name, head, targets)) for name, head in self.of.items()]

    def reads(self, fields: Mapping[str, DataField], outputs: Sequence[str]) -> Sequence[str]:
        targets = [name for name, one in fields.items() if one.role == "target"]
        heads = self.heads(targets)
        beside = [n for head in heads for n in head.objective.reads(fields, outputs) if n not in targets]
        return list(dict.fromkeys([*(head.field for head in heads), *beside]))

    def target(self, batch: Batch) -> Any:
        return batch

    def trained_outputs(self, outputs: Iterable[str]) -> list[str]:
        named = {*self.of, *(name for head in self.of.values() for name in head.aux)}
        return [name for name in outputs if name in named]

    def check_aux(self, outputs: Iterable[str]) -> dict[str, Problem]:
        return {}

    def check_heads(self, outputs: Sequence[str]) -> dict[str, Problem]:
        """Return the problems between the heads and the names of a network's outputs, by the name of a head."""
        found = {}
        for name, head in self.of.items():
            lacking = [one for one in (name, *head.aux) if one not in outputs]
            if lacking and len(outputs) == 1 == len(self.of) and lacking == [name]:
                continue  # one output and one head need no names
            if lacking:
                of = "the head" if lacking[0] == name else f"`aux` of the head `{name}` names"
                known = ", ".join(f"`{one}`" for one in outputs)
                hint = did_you_mean(lacking[0], outputs)
                found[name] = Problem(f"{of} `{lacking[0]}` has no output: the network has {known}", hint)
        return found

    def main(self, outputs: Outputs) -> Tensor:
        return outputs if not isinstance(outputs, Mapping) else outputs[next(iter(self.of))]

    def read_outputs(self, outputs: Outputs) -> dict[str, Tensor]:
        return {name: head.main(self.outputs_of(name, outputs)) for name, head in self.of.items()}

    def outputs_of(self, name: str, outputs: Outputs) -> Outputs:
        """Return what a head takes of the outputs: the one of its name, with those of its `aux`."""
        if not isinstance(outputs, Mapping):
            return outputs
        aux = self.of[name].aux
        return {one: outputs[one] for one in (name, *aux)} if aux else outputs[name]

    def target_of(self, name: str, target: Any) -> Any:
        """Return what a head takes of a batch, or of targets by the names of the heads."""
        if isinstance(target, Mapping):
            return target[name]
        if not isinstance(target, Batch):
            return target
        return self.of[name].target_in(target, field_of(name, self.of[name], target.names.targets))

    # --- training ---------------------------------------------------------------------------------------------------

    def parameters(self) -> Mapping[str, Values]:
        return dict.fromkeys(self.of, 0.0) if self.weighting == "uncertainty" else {}

    def weighted(self, losses: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses of the heads."""
        terms = [self._term(name, loss, parameters) for name, loss in losses.items()]
        return sum(terms[1:], terms[0])

    def _term(self, name: str, loss: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        head = self.of[name]
        if self.weighting == "fixed":
            return loss if head.weight == 1 else head.weight * loss
        log_variance = parameters[name]
        factor = torch.exp(-log_variance)
        # the logarithm of a normal density has half the squared error
        return (0.5 * factor if head.loss.kind == "squared_error" else factor) * loss + 0.5 * log_variance

    def training_loss(
        self,
        around: Callable[[Function], Function] | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Callable[[Outputs, Any], Tensor]:
        own = around is None or around is as_it_is
        each = {name: head.training_loss(head.weighing() if own else around) for name, head in self.of.items()}

        def loss(outputs: Outputs, target: Any) -> Tensor:
            shares: Mapping[str, Tensor | float] = {}
            if isinstance(target, Piece):
                shares, target = target.shares, target.target
            losses = {}
            for name, one in each.items():
                value = one(self.outputs_of(name, outputs), self._weighted(name, target))
                losses[name] = value * shares[name] if name in shares else value
            total = self.weighted(losses, parameters or {})
            return total if self.flooding is None else (total - self.flooding).abs() + self.flooding

        return loss

    def shares(self, piece: Any, whole: Any) -> tuple[Mapping[str, Tensor | float], Tensor | float]:
        # what is no loss of a head, s / 2 and the losses that layers add, is shared out by examples
        factor = len(piece) / len(whole)
        found = {}
        for name, head in self.of.items():
            _, own = head.shares(self._weighted(name, piece), self._weighted(name, whole))
            if isinstance(own, torch.Tensor) or own != factor:
                found[name] = own / factor
        return found, factor

    def _weighted(self, name: str, target: Any) -> Any:
        """Return what a head takes of a batch, with the weights of the examples where there are some."""
        weight = target.fields.get("weight") if isinstance(target, Batch) else None
        own: Any = self.target_of(name, target)
        return own if weight is None else Weighted(own, weight)

    def training_target(self, batch: Batch) -> Any:
        return batch

    def weighing(self) -> Callable[[Function], Function]:
        return as_it_is  # each head weighs by what its own loss is divided by

    # --- what follows from the targets of the training part ---------------------------------------------------------

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        of = {name: head.fitted(statistics.get(name, {})) for name, head in self.of.items()}
        return self.model_copy(update={"of": of}) if statistics else self

    def notes(self) -> tuple[str, ...]:
        return tuple(f"{name}: {note}" for name, head in self.of.items() for note in head.notes())

    def in_units(self, units: Any) -> Self:
        return self.model_copy(update={"of": {name: head.in_units(units) for name, head in self.of.items()}})

    # --- evaluation -------------------------------------------------------------------------------------------------

    def modes(self) -> dict[str, Mode]:
        found: dict[str, Mode] = {"loss": "min"}
        return found | {f"{name}/{key}": mode for name, head in self.of.items() for key, mode in head.modes().items()}

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        return HeadMeters(self, parameters or {})


def as_it_is(loss: Function) -> Function:
    """Return a loss unchanged."""
    return loss


def field_of(name: str, head: Supervised, targets: Sequence[str]) -> str:
    """Return the target that a head reads: its `field`, the one of its name, or the only one."""
    if head.field is not None:
        return head.field
    return targets[0] if len(targets) == 1 else name


class HeadMeters(EvaluationMeters):
    """Accumulates loss and metrics of each head."""

    def __init__(self, objective: Heads, parameters: Mapping[str, Tensor]) -> None:
        self.heads, self.parameters = objective, parameters
        self.each = {name: head.evaluation() for name, head in objective.of.items()}

    def add(self, outputs: Outputs, target: Any) -> None:
        for name, one in self.each.items():
            one.add(self.heads.outputs_of(name, outputs), self.heads.target_of(name, target))

    def result(self) -> dict[str, float]:
        results = {name: one.result() for name, one in self.each.items()}
        losses = {name: torch.tensor(found["loss"], dtype=torch.float64) for name, found in results.items()}
        parameters = {name: one.cpu().double() for name, one in self.parameters.items()}
        total = float(self.heads.weighted(losses, parameters))
        return {"loss": total} | {f"{name}/{key}": v for name, found in results.items() for key, v in found.items()}

    def notes(self, class_names: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, str]:
        found = {name: one.notes({"": class_names.get(name, ())}) for name, one in self.each.items()}
        return {f"{name}/{metric}": note for name, notes in found.items() for metric, note in notes.items()}

    def tables(self) -> dict[str, list[list[int]]]:
        found = {name: one.tables() for name, one in self.each.items()}
        return {f"{name}/{metric}": table for name, tables in found.items() for metric, table in tables.items()}
