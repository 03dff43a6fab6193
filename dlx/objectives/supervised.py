"""What a network is asked to do: which loss, which metrics, and what its outputs must look like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator

from ..data import Facts
from ..data.base import Field as DataField
from ..errors import Problem, did_you_mean
from ..lazy import torch
from ..losses import Loss
from ..metrics import METRICS, Mean, Meter, Metric, Mode
from ..registry import Choice
from ..shapes import Shape
from . import weight_penalty
from .base import Call, Objective, Phase, Ports

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.batch import Batch
    from .base import Caller

    Function = Callable[[Tensor, Tensor], Tensor]
    Outputs = Tensor | Mapping[str, Tensor]

PROBABILITIES = ("softmax", "softmin", "sigmoid", "hardsigmoid")
"""Layers that make probabilities of logits."""


class Supervised(Objective):
    """One network that learns targets: a loss, metrics, and terms that count in training only."""

    phase: ClassVar[Phase] = Phase("train", ("network",), ("input", "target"))
    loss: Loss
    metrics: Annotated[list[Metric], Choice(METRICS)] = Field([], description="more to measure at each evaluation")
    aux: dict[str, PositiveFloat] = Field(
        {}, description="further outputs of the network by name, and the weight of their loss in training"
    )
    l1: NonNegativeFloat = Field(0.0, description="adds l1 * sum |w| over weights of two and more axes")
    l2: NonNegativeFloat = Field(
        0.0, description="adds l2 * sum w^2, so 2 * l2 * w to the gradient: torch's weight_decay halved"
    )
    max_norm: PositiveFloat | None = Field(
        None, description="largest length of the weights into one unit, restored after each update"
    )
    flooding: PositiveFloat | None = Field(
        None, description="level b that the training loss L is kept at: |L - b| + b"
    )

    default_metrics: ClassVar[tuple[str, ...]] = ()
    """The metrics that it has without being asked."""
    higher_is_better: ClassVar[tuple[str, ...]] = ("accuracy",)
    """Those of them of which more is better."""
    measures: ClassVar[Literal["classes", "values", "boxes"]] = "classes"
    """What its metrics are about."""
    one_logit: ClassVar[bool] = False

    @field_validator("metrics")
    @classmethod
    def _that_fit(cls, metrics: list[Metric]) -> list[Metric]:
        names = [*cls.default_metrics, *(one.name for one in metrics)]
        for i, one in enumerate(metrics, len(cls.default_metrics)):
            if one.wants != cls.measures or (cls.one_logit and not one.binary):
                what = "one logit" if cls.one_logit and one.wants == "classes" else cls.measures
                raise ValueError(f"the metric {one.name} is not for {cls.kind}, which has {what}")
            if one.name in names[:i]:
                raise ValueError(f"the metric {one.name} is there twice")
        return metrics

    def phases(self) -> Sequence[Phase]:
        return (self.phase,)

    def needs(self, fields: Mapping[str, DataField], networks: Mapping[str, Ports]) -> Sequence[Call]:
        network = networks["network"]
        return (Call("network", dict.fromkeys(network.inputs, "input")),)

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"loss": self.training_loss()(call("network", batch["input"]), batch["target"])}

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        """What does not fit between an output of the network and the data."""
        raise TypeError(f"{type(self).__name__} has no check()")

    def probability_warning(self, kind: str) -> Problem | None:
        """A warning about a last layer that makes probabilities of logits; None for other layers and losses."""
        if not self.loss.logits or kind not in PROBABILITIES:
            return None
        message = f"{self.loss.kind} takes logits, of which it makes probabilities itself, and {kind} has made some"
        return Problem(message, f"Leave `{kind}` out: it is predicted as probabilities all the same.")

    # --- several outputs --------------------------------------------------------------------------------------------

    def trained_outputs(self, outputs: Iterable[str]) -> list[str]:
        """The outputs that it has a loss for, the one that is asked for first."""
        names = list(outputs)
        main = [name for name in names if name not in self.aux]
        return main[:1] + [name for name in names if name in self.aux]

    def check_aux(self, outputs: Iterable[str]) -> dict[str, Problem]:
        """What is wrong with the names under `aux`, by name."""
        names = list(outputs)
        known = ", ".join(f"`{name}`" for name in names)
        found = {
            name: Problem(f"`aux` names `{name}`, and the network has {known}", did_you_mean(name, names))
            for name in self.aux
            if name not in names
        }
        if self.aux and not found and len(self.aux) == len(names):
            hint = "Leave out the one that is asked for."
            found[next(iter(self.aux))] = Problem("`aux` names every output of the network", hint)
        return found

    def main(self, outputs: Outputs) -> Tensor:
        """The output that is asked for, of one or several."""
        if not isinstance(outputs, Mapping):
            return outputs
        return next(output for name, output in outputs.items() if name not in self.aux)

    # --- training ---------------------------------------------------------------------------------------------------

    def loss_function(self) -> Function:
        """From outputs and targets of a batch to a scalar."""
        return self.loss.function()

    def training_loss(
        self, around: Callable[[Function], Function] | None = None
    ) -> Callable[[Outputs, Tensor], Tensor]:
        """The same for all that the network gives, with the losses of `aux`, and not below `flooding`.

        `around` makes of the loss of one output another one, such as one for targets that are mixed.
        """
        one = self.loss_function() if around is None else around(self.loss_function())
        if not self.aux and self.flooding is None:
            return one  # type: ignore[return-value]

        def loss(outputs: Outputs, target: Tensor) -> Tensor:
            total = one(self.main(outputs), target)
            for name, weight in self.aux.items():
                total = total + weight * one(outputs[name], target)  # type: ignore[index]
            return total if self.flooding is None else (total - self.flooding).abs() + self.flooding

        return loss

    def penalty(self, network: nn.Module) -> Callable[[], Tensor] | None:
        """What `l1` and `l2` add to the loss; None where they are zero."""
        return weight_penalty.penalty(network, self.l1, self.l2) if self.l1 or self.l2 else None

    def limit(self, network: nn.Module) -> Callable[[], None] | None:
        """What brings weights back to `max_norm` after an update; None where there is no such length."""
        return None if self.max_norm is None else weight_penalty.limit(network, self.max_norm)

    # --- evaluation -------------------------------------------------------------------------------------------------

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The metrics of a batch, each averaged over its targets, still on the device."""
        raise TypeError(f"{type(self).__name__} has no measure()")

    def count(self, target: Tensor) -> Tensor | int:
        """How many targets the metrics of a batch were averaged over."""
        return len(target)

    def modes(self) -> dict[str, Mode]:
        known: dict[str, Mode] = {
            name: "max" if name in self.higher_is_better else "min" for name in ("loss", *self.default_metrics)
        }
        return known | {metric.name: metric.mode for metric in self.metrics if not metric.table}

    def scores(self, output: Tensor) -> Tensor:
        """What the metrics of torchmetrics are given: logits, or predictions."""
        return output

    def evaluation(self) -> Evaluation:
        """Loss and metrics of a part of the data, which comes in batches."""
        return Evaluation(self)


class Evaluation:
    """Gathers what an objective measures; numbers leave the device at the end."""

    def __init__(self, objective: Supervised) -> None:
        self.objective, self.loss = objective, objective.loss_function()
        self.summed = objective.loss.reduction == "sum"
        self.means: dict[str, Mean] = {}
        self.meters: dict[str, Meter] = {}

    def add(self, outputs: Outputs, target: Tensor) -> None:
        """One batch."""
        objective = self.objective
        output = objective.main(outputs)
        measured = {"loss": self.loss(output, target), **objective.measure(output, target)}
        share = 1 if self.summed else objective.loss.normalizer(target)
        for name, value in measured.items():
            count = share if name == "loss" else objective.count(target)
            self.means.setdefault(name, Mean()).add(value, count)
        scores = objective.scores(output) if objective.metrics else output
        for metric in objective.metrics:
            if metric.name not in self.meters:
                self.meters[metric.name] = metric.meter(scores, objective.loss.ignores())
            self.meters[metric.name].update(scores, target)

    def result(self) -> dict[str, float]:
        """All of it as numbers."""
        found = {name: mean.compute() for name, mean in self.means.items()}
        if self.summed:
            found["loss"] = torch.as_tensor(self.means["loss"].sum)
        return {name: float(value) for name, value in found.items()} | {
            name: float(meter.compute()) for name, meter in self.meters.items() if name not in self._tables
        }

    def notes(self, class_names: Sequence[str] = ()) -> dict[str, str]:
        """By metric, what it leaves out."""
        noting = {name: meter for name, meter in self.meters.items() if hasattr(meter, "note")}
        return {name: note for name, meter in noting.items() if (note := meter.note(class_names))}

    @property
    def _tables(self) -> set[str]:
        return {metric.name for metric in self.objective.metrics if metric.table}

    def tables(self) -> dict[str, list[list[int]]]:
        """What is no number: a confusion matrix in rows."""
        return {name: self.meters[name].compute().tolist() for name in self._tables if name in self.meters}
