"""Supervised learning: loss, metrics, and checks of what a network gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, PositiveFloat, field_validator

from ..data import Facts
from ..data.base import Field as DataField
from ..errors import Problem, did_you_mean
from ..lazy import torch
from ..losses import Loss
from ..metrics import METRICS, Mean, Meter, Metric, Mode
from ..registry import Choice
from ..schedules.values import Weight, at_start, may_count
from ..shapes import Shape
from . import weight_penalty
from .base import Call, Objective, Phase, Ports
from .sample_weights import Weighted, divisor, weighing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.batch import Batch
    from ..schedules import Timeline
    from .base import Caller

    Function = Callable[[Tensor, Tensor], Tensor]
    Outputs = Tensor | Mapping[str, Tensor]

PROBABILITIES = ("softmax", "softmin", "sigmoid", "hardsigmoid")
"""Layers that turn logits into probabilities."""
SIGNED = ("linear", "conv", "subtract", "tanh")
"""Usual last layers whose values have either sign."""


class Head(NamedTuple):
    """An objective of one output: its name, empty where it is the only one, and the target that it reads."""

    name: str
    objective: Supervised
    field: str

    def named(self, metric: str) -> str:
        """Return the name of a metric of the head in the results: `NAME/METRIC`."""
        return f"{self.name}/{metric}" if self.name else metric


class Supervised(Objective):
    """Base class of objectives in which one network learns targets: a loss, metrics, and regularisation in
    training.
    """

    phase: ClassVar[Phase] = Phase("train", ("network",), ("input", "target"))
    loss: Loss
    field: str | None = Field(
        None, description="the target that is learned, where the data has several; null: its one"
    )
    weight: PositiveFloat = Field(1.0, description="factor on the loss, where it is that of one of several heads")
    metrics: Annotated[list[Metric], Choice(METRICS)] = Field([], description="more to measure at each evaluation")
    aux: dict[str, PositiveFloat] = Field(
        {}, description="further outputs of the network by name, and the weight of their loss in training"
    )
    l1: Weight = Field(0.0, description="adds l1 * sum |w| over weights of two and more axes; it may be scheduled")
    l2: Weight = Field(
        0.0,
        description="adds l2 * sum w^2, so 2 * l2 * w to the gradient: torch's weight_decay halved; "
        "it may be scheduled",
    )
    max_norm: PositiveFloat | None = Field(
        None, description="largest length of the weights into one unit, restored after each update"
    )
    flooding: PositiveFloat | None = Field(
        None, description="level b that the training loss L is kept at: |L - b| + b"
    )

    default_metrics: ClassVar[tuple[str, ...]] = ()
    """Metrics that are always measured."""
    higher_is_better: ClassVar[tuple[str, ...]] = ("accuracy",)
    """Those of them of which larger values are better."""
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads", "sequences"]] = "classes"
    """Type of the targets that its metrics take."""
    one_logit: ClassVar[bool] = False

    @classmethod
    def word_hints(cls, field: str) -> Mapping[str, str]:
        always = ("loss", *cls.default_metrics)
        of_metrics = dict.fromkeys(always, f"{cls.kind} always measures it: drop it here.")
        return of_metrics if field == "metrics" else super().word_hints(field)

    @field_validator("metrics", check_fields=False)
    @classmethod
    def _that_fit(cls, metrics: list[Metric]) -> list[Metric]:
        names = [*cls.default_metrics, *(one.name for one in metrics)]
        for i, one in enumerate(metrics, len(cls.default_metrics)):
            fits = one.of_labels if cls.measures == "labels" else one.wants == cls.measures
            if not fits or (cls.one_logit and not one.binary):
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
        loss = self.training_loss(self.weighing())
        return {"loss": loss(call("network", *batch.inputs), self.training_target(batch))}

    # --- fields -----------------------------------------------------------------------------------------------------

    def reads(self, fields: Mapping[str, DataField], outputs: Sequence[str]) -> Sequence[str]:
        """Return the names of the fields that the loss and the metrics read, for a network with these outputs.

        By default one target: `field`, or else the first. An objective of several outputs reads more; then `target`
        gives it what it needs of a batch.
        """
        return (
            [self.field] if self.field is not None else [n for n, one in fields.items() if one.role == "target"][:1]
        )

    def heads(self, targets: Sequence[str]) -> list[Head]:
        """Return the objectives of single outputs, each with the name of the target that it reads among `targets`."""
        return [Head("", self, self.field or targets[0])]

    def target(self, batch: Batch) -> Any:
        """Return what the loss and the metrics take of a batch beside the outputs: by default its one target.

        An objective that reads several fields returns the batch itself, and takes `batch["price"]` apart.
        """
        return self.target_in(batch, self.field or batch.names.targets[0])

    def target_in(self, batch: Batch, field: str) -> Any:
        """Return the target of this name; `Mixed` where augmentations mix."""
        return batch.fields[field]

    def training_target(self, batch: Batch) -> Any:
        """Return what the training loss takes: the target, with the weights of the examples where there are some."""
        target = self.target(batch)
        return Weighted(target, batch["weight"]) if "weight" in batch.fields else target

    def normalizer(self, target: Any) -> Tensor | float:
        """Return what the mean loss of some training targets was divided by, by which pieces are weighed."""
        return divisor(self.loss.normalizer, target) if isinstance(target, Weighted) else self.loss.normalizer(target)

    def shares(self, piece: Any, whole: Any) -> tuple[Mapping[str, Tensor | float], Tensor | float]:
        """Return the factor on the loss of a piece of an update, so that the sum over pieces is the loss of all.

        Arguments:
            piece, whole: the training targets of the piece, and of the update.

        Returns:
            factors on the losses of single heads, by name, which `Piece` hands to the training loss; and the factor
            on the training loss.
        """
        return {}, 1 if self.loss.reduction == "sum" else self.normalizer(piece) / self.normalizer(whole)

    def weighing(self) -> Callable[[Function], Function]:
        """Return what makes a loss of targets one that takes `Weighted` ones too."""
        return weighing(self.loss.normalizer, summed=self.loss.reduction == "sum")

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        """Return the problem between an output shape of the network and the data; None where they fit."""
        raise TypeError(f"{type(self).__name__} has no check()")

    def check_fields(self, fields: Mapping[str, DataField]) -> Problem | None:
        """Return the problem between the objective and the fields of the data; None where they fit."""
        return None

    def output_warning(self, kind: str) -> Problem | None:
        """Return a warning where the last layer has values that the loss is not for; else None.

        They are probabilities for a loss of logits, and values below 0 for a loss of distances.
        """
        if self.loss.wants_distances and kind in SIGNED:
            message = f"{self.loss.kind} takes distances, and {kind} gives values below 0 too"
            return Problem(message, "End in `vector_norm: {dim: 1, keepdim: true}` of the difference of embeddings.")
        if not self.loss.logits or kind not in PROBABILITIES:
            return None
        message = f"{self.loss.kind} takes logits, of which it makes probabilities itself, and {kind} has made some"
        return Problem(message, f"Leave `{kind}` out: it is predicted as probabilities all the same.")

    # --- what follows from the targets of the training part ---------------------------------------------------------

    def target_statistics(
        self, targets: Any, classes: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return what the objective needs to know of the training targets, as JSON; empty for nothing.

        Arguments:
            targets: targets of the training part, (n, ...).
            classes: number of classes, where they are class numbers.
            names: names of the values of a target, where the data has some.

        Raises:
            ValueError: they are not what the objective is for.
        """
        if not self.loss.balances:
            return {}
        positives, count = self.positives(targets, classes)
        return {"positives": positives, "count": count}

    def field_statistics(
        self, fields: Mapping[str, DataField], target: str, reading: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what the objective needs to know of the fields beside the target that it learns, as JSON.

        `reading` is what a run keeps to read later inputs.
        """
        return {}

    def positives(self, targets: Any, classes: int | None) -> tuple[list[int], int]:
        """Return the targets of each class or label, and how many targets there are."""
        raise ValueError(f"{self.kind} has no classes, so that nothing is `balanced`")

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        """Return the objective with the values that follow from `target_statistics`. ValueError where none can."""
        if not self.loss.balances or not statistics:
            return self
        return self.model_copy(update={"loss": self.loss.balanced(statistics["positives"], statistics["count"])})

    def scaled(self, targets: Any) -> Any:
        """Return targets in the unit of the outputs."""
        return targets

    def learned(self, output: Tensor, target: Any) -> Any:
        """Return what an output is to come to: the targets in the unit of the outputs."""
        return self.scaled(target)

    def check_targets(self, targets: Any) -> str:
        """Return a sentence on targets of a part that cannot be learned; empty where all can."""
        return self.loss.check_values(self.scaled(targets)) if self.measures == "values" else ""

    # --- several outputs --------------------------------------------------------------------------------------------

    def trained_outputs(self, outputs: Iterable[str]) -> list[str]:
        """Return the names of the outputs that have a loss, the main one first."""
        names = list(outputs)
        main = [name for name in names if name not in self.aux]
        return main[:1] + [name for name in names if name in self.aux]

    def check_aux(self, outputs: Iterable[str]) -> dict[str, Problem]:
        """Return problems with the names under `aux`, by name."""
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
        """Return the main output, of one or of several."""
        if not isinstance(outputs, Mapping):
            return outputs
        return next(output for name, output in outputs.items() if name not in self.aux)

    def read_outputs(self, outputs: Outputs) -> dict[str, Tensor]:
        """Return the main output of each head by its name; that of one objective is empty."""
        return {"": self.main(outputs)}

    # --- training ---------------------------------------------------------------------------------------------------

    def loss_function(self) -> Function:
        """Return the function from outputs and targets of a batch to a scalar."""
        return self.loss.function()

    def training_loss(
        self, around: Callable[[Function], Function] | None = None, parameters: Mapping[str, Tensor] | None = None
    ) -> Callable[[Outputs, Tensor], Tensor]:
        """Return the training loss of all outputs, with the losses of `aux` and with `flooding`.

        `around` wraps the loss of each output, such as for mixed targets. `parameters` are those that the objective
        learns.
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
        """Return the penalty of `l1` and `l2` on the weights, at the start of those that move; None for zeros."""
        l1, l2 = at_start(self.l1), at_start(self.l2)
        return weight_penalty.penalty(network, l1, l2) if may_count(l1) or may_count(l2) else None

    def limit(self, network: nn.Module) -> Callable[[], None] | None:
        """Return the function that restores `max_norm` after an update; None without `max_norm`."""
        return None if self.max_norm is None else weight_penalty.limit(network, self.max_norm)

    @property
    def mixes_inputs(self) -> bool:
        """Whether `mixed_inputs` changes what the network takes in training."""
        return False

    def forcing(self, step: int, timeline: Timeline) -> float:
        """Return the probability that a token of the inputs stays in the update number `step`."""
        return 1.0

    def mixed_inputs(
        self, call: Callable[..., Any], batch: Batch, forcing: float, rng: torch.Generator
    ) -> Sequence[Tensor]:
        """Return what the network takes of a training batch, with tokens of its own in place of some.

        Arguments:
            call: the network.
            forcing: probability that a token stays.
            rng: generator on the CPU.
        """
        return batch.inputs

    # --- evaluation -------------------------------------------------------------------------------------------------

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the default metrics of a batch, means over its targets, on the device."""
        raise TypeError(f"{type(self).__name__} has no measure()")

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        """Return loss and default metrics of a part from the means of `measure` over it."""
        return means

    def compared_target(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the part of the targets of a batch that an output is compared with."""
        return target

    def count(self, target: Tensor) -> Tensor | int:
        """Return the number of targets in a batch that count in the metrics."""
        return len(target)

    def modes(self) -> dict[str, Mode]:
        known: dict[str, Mode] = {
            name: "max" if name in self.higher_is_better else "min" for name in ("loss", *self.default_metrics)
        }
        return known | {metric.name: metric.mode for metric in self.metrics if not metric.table}

    def scores(self, output: Tensor) -> Tensor:
        """Return the logits or predictions that metrics take."""
        return output

    def scores_of_targets(self, output: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Return what metrics compare: scores, and targets like them."""
        return self.scores(output), target

    def scores_of(self, metric: Metric, scores: Tensor) -> Tensor:
        """Return the scores for one metric, which decides at 0."""
        return scores

    def meter_of(self, metric: Metric, scores: Tensor) -> Meter:
        """Return a new meter of a metric, for the scores of a first batch."""
        return metric.meter(scores, self.loss.ignores())

    def predict(self, output: Tensor) -> Tensor:
        """Return predictions in the unit of the targets."""
        return self.loss.predict(output)

    def in_units(self, units: Any) -> Self:
        """Return the objective for outputs of examples of which each has a scale of its own, `units` (N, ...)."""
        return self

    def unpacked(self, output: Tensor, target: Any) -> tuple[Self, Any]:
        """Return the objective for the outputs of some examples, and their targets as predictions are like them."""
        return self, target

    def answered(self, output: Tensor) -> Tensor:
        """Return what `dlx predict` answers where targets are values: predictions in their unit."""
        return self.predict(output)

    def answer_names(self, names: Sequence[str]) -> list[str]:
        """Return the names of the values that are answered, from those of a target."""
        return list(names)

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        """Return prediction minus target, in the unit of the targets."""
        return self.predict(output) - target

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        """Return a new accumulator of loss and metrics for a part of the data; `parameters` are those it learns."""
        return EvaluationMeters(self)


class EvaluationMeters:
    """Accumulates loss and metrics over batches; numbers leave the device at the end only."""

    def __init__(self, objective: Supervised) -> None:
        self.objective, self.loss = objective, objective.loss_function()
        self.summed = objective.loss.reduction == "sum"
        self.means: dict[str, Mean] = {}
        self.meters: dict[str, Meter] = {}

    def add(self, outputs: Outputs, target: Tensor) -> None:
        """Add the outputs and targets of a batch."""
        objective = self.objective
        output = objective.main(outputs)
        target = objective.compared_target(output, target)
        measured = {"loss": self.loss(output, target), **objective.measure(output, target)}
        share = 1 if self.summed else objective.loss.normalizer(target)
        for name, value in measured.items():
            count = share if name == "loss" else objective.count(target)
            self.means.setdefault(name, Mean()).add(value, count)
        if not objective.metrics:
            return
        scores, target = objective.scores_of_targets(output, target)
        for metric in objective.metrics:
            if metric.name not in self.meters:
                self.meters[metric.name] = objective.meter_of(metric, scores)
            self.meters[metric.name].update(objective.scores_of(metric, scores), target)

    def generate(self, network: Any, batch: Batch) -> None:
        """Let the network make what metrics are of that it makes by itself, from the inputs of a batch."""

    def result(self) -> dict[str, float]:
        """Return loss and metrics as numbers."""
        found = {name: mean.compute() for name, mean in self.means.items()}
        if self.summed:
            found["loss"] = torch.as_tensor(self.means["loss"].sum)
        return self.objective.measured({name: float(value) for name, value in found.items()}) | {
            name: float(meter.compute()) for name, meter in self.meters.items() if name not in self._tables
        }

    def notes(self, class_names: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, str]:
        """Return a note for each metric that left something out; `class_names` are by head, "" for one objective."""
        noting = {name: meter for name, meter in self.meters.items() if hasattr(meter, "note")}
        return {name: note for name, meter in noting.items() if (note := meter.note(class_names.get("", ())))}

    @property
    def _tables(self) -> set[str]:
        return {metric.name for metric in self.objective.metrics if metric.table}

    def tables(self) -> dict[str, list[list[int]]]:
        """Return the metrics that are tables, as rows, such as the confusion matrix."""
        return {name: self.meters[name].compute().tolist() for name in self._tables if name in self.meters}
