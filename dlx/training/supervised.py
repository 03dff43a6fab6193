"""Learner of one network with targets: its update as plain functions, replayed where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..lazy import nn, torch
from ..metrics import RUNNING_LOSS
from ..objectives import Supervised
from ..objectives.heads import Piece
from ..objectives.learned import parameters_of
from ..schedules import Timeline
from ..spec import Train
from .batches.augmentation import training_loss
from .batches.example_order import Examples
from .batches.windows import BEGINS, CarriedPart
from .freezing import Freezing
from .learner import EVALUATION_BATCH, Learner, Update
from .progress import Progress
from .pruning import Pruning
from .replay.at_once import GradientUpdate
from .replay.traced import traced
from .weight_averages import WeightAverage

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

    from ..data.batch import Batch
    from .batches.data_part import DataPart


class SupervisedLearner(Learner):
    """Trains one network by one loss. An update takes the indices of its examples."""

    by_index = True
    losses = (RUNNING_LOSS,)
    periods = (1,)
    objective: Supervised
    evaluated: Supervised
    """The objective as evaluations take it."""
    feed: Examples

    def __init__(
        self,
        network: nn.Module,
        objective: Supervised,
        train: Train,
        progress: Progress,
        feed: Examples,
        class_names: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        freezing: Freezing | None = None,
        pruning: Pruning | None = None,
    ) -> None:
        super().__init__({"network": network}, network, objective, train, progress, feed, freezing, pruning)
        self.network = network
        self.objective, self.evaluated = self.values.of_objective(objective)
        self.carried = _held_states(network, feed.part)
        """The states of recurrent layers that go on from window to window, by name."""
        heads = objective.heads(feed.part.names.targets)
        self.class_names = {head.name: class_names.get(head.field, ()) for head in heads}

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.optimizers["network"].optimizer

    @property
    def average(self) -> WeightAverage | None:
        return self.averages.get("network")

    def trained_networks(self) -> tuple[str, ...]:
        return ("network",)

    def state(self) -> dict[str, Any]:
        return super().state() | ({"carried": dict(self.carried)} if self.carried else {})

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        for name, held in self.carried.items():
            held.copy_(state["carried"][name])

    def plan_timeline(self) -> Timeline:
        return self.train.span(len(self.feed.part))

    def build_update(self) -> Update:
        """Return the function from the indices of an update to the loss before it, a scalar on the device."""
        step, takes = step_of(self), self.train.optimizer.takes
        if takes == "gradient":
            return GradientUpdate(self, traced(self, gradients_of(self)), step)
        closure = _whole_loss(self) if takes == "loss" else gradients_of(self)

        def by_closure(index: Tensor) -> Tensor:
            loss: Tensor = step(with_same_random_numbers(lambda: closure(index), self.compute.device))
            return loss

        return by_closure

    def evaluate(self, name: str, part: DataPart) -> dict[str, float]:
        self.module.eval()
        evaluation = self.evaluated.evaluation(parameters_of(self.network))
        with torch.inference_mode():
            for outputs, batch in part.answers(self.compute.of(self.module), EVALUATION_BATCH):
                found, measured = self.compute.measurable(outputs, batch)
                evaluation.add(found, self.objective.target(measured))
                evaluation.generate(self.network, batch)
            result, tables = evaluation.result(), evaluation.tables()
        self.progress.metric_notes[name] = evaluation.notes(self.class_names)
        if tables:
            self.progress.tables[name] = tables
        self.set_training_mode()
        return {f"{name}/{key}": value for key, value in result.items()}


def _held_states(network: nn.Module, part: DataPart) -> dict[str, Tensor]:
    """Let a network hold the states of the streams of a part; nothing for one of independent examples."""
    if not isinstance(part, CarriedPart):
        return {}
    from ..modules.carry import hold

    return hold(network, part.streams_of.count)


def with_same_random_numbers(closure: Callable[[], Tensor], device: Device) -> Callable[[], Tensor]:
    """Return a closure that draws the same random numbers in each call: line searches need one function of the
    weights.

    Random numbers that the optimizer draws between two calls go on in their own order.
    """
    on_gpu = device.type == "cuda"

    def state() -> list[Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if on_gpu else [])]

    def set_to(states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if on_gpu:
            torch.cuda.set_rng_state(states[1], device)

    before: list[Tensor] = []

    def again() -> Tensor:
        if not before:
            before.extend(state())
            return closure()
        now = state()
        set_to(before)
        loss = closure()
        set_to(now)
        return loss

    return again


def step_of(learner: SupervisedLearner) -> Callable[..., Any]:
    """Return the optimizer's step, and after it the objective's limit on the weights (`max_norm`)."""
    bare = learner.pruning.holding(learner.fast_step(learner.optimizer))
    step: Callable[..., Any] = learner.compute.step(bare, learner.optimizer)
    limit = learner.objective.limit(learner.network)

    def within_limits(*closure: Callable[[], Tensor]) -> Any:
        loss = step(*closure)
        if limit is not None:
            limit()
        return loss

    return step if limit is None else within_limits


def _loss_of(learner: SupervisedLearner) -> Callable[..., Tensor]:
    """Return the function from the indices of examples to their loss, a scalar; of a piece of an update it takes the
    factors on the losses of heads, too.
    """
    from ..modules.carry import carrying

    network, part, objective = learner.compute.step_call(), learner.feed.part, learner.objective
    take, weighted = part.take, "weight" in part.fields
    target = objective.training_target if weighted else objective.target
    loss_function = learner.compute.loss(
        training_loss(learner.train, objective, parameters_of(learner.network), weighted=weighted)
    )

    carries = isinstance(part, CarriedPart)
    mixture = Mixture(learner) if objective.mixes_inputs else None

    def loss_of(index: Tensor, shares: Mapping[str, Tensor | float] | None = None) -> Tensor:
        batch = take(index)
        learned: Any = target(batch)
        learned = Piece(learned, shares) if shares else learned
        if mixture is not None:
            return loss_function(network(*mixture.inputs_of(batch)), learned)
        if not carries:
            return loss_function(network(*batch.inputs), learned)
        with carrying(batch[BEGINS]):
            outputs = network(*batch.inputs)
        return loss_function(outputs, learned)

    return _with_auxiliary(learner.network, loss_of)


class Mixture:
    """What a network takes in training where some of it is its own: scheduled sampling.

    The random numbers of a step follow from `train.seed` and its number, so that a training goes on to the same bits.
    """

    def __init__(self, learner: SupervisedLearner) -> None:
        self.learner, self.rng, self.step = learner, torch.Generator(), -1

    def inputs_of(self, batch: Batch) -> Sequence[Tensor]:
        """Return the inputs of the network for a batch of the next step."""
        learner, step = self.learner, self.learner.progress.step
        if step != self.step:
            self.step = step
            self.rng.manual_seed(learner.train.seed * STEPS_OF_A_SEED + step)
        objective = learner.objective
        forcing = objective.forcing(step, learner.span)
        return objective.mixed_inputs(learner.compute.forward, batch, forcing, self.rng)


STEPS_OF_A_SEED = 2**32
"""Seeds that lie between those of two trainings."""


def _with_auxiliary(network: nn.Module, loss_of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the same with the losses that layers add in training, such as the balancing one of experts."""
    from ..modules.auxiliary import AuxiliaryLosses

    auxiliary = AuxiliaryLosses(network)

    def with_them(index: Tensor, shares: Mapping[str, Tensor | float] | None = None) -> Tensor:
        auxiliary.clear()
        return loss_of(index, shares) + auxiliary.total()

    return with_them if auxiliary else loss_of


def _whole_loss(learner: SupervisedLearner) -> Update:
    """Return the same with the objective's penalty on the weights, if it has one."""
    loss_of, penalty = _loss_of(learner), learner.objective.penalty(learner.network)
    return loss_of if penalty is None else lambda index: loss_of(index) + penalty()


def gradients_of(learner: SupervisedLearner) -> Update:
    """Return the function that computes a loss and leaves its gradients, clipped, in `grad` of the weights."""
    train, loss_of = learner.train, _loss_of(learner)
    weights = [p for group in learner.optimizer.param_groups for p in group["params"] if p.requires_grad]
    batch = train.batch(len(learner.feed.part))
    backwards, unscale = learner.compute.backward, learner.compute.unscale(learner.optimizer)
    objective, targets_of = learner.objective, learner.feed.part.targets_of
    limit = learner.gradient_limits(weights)

    def whole(index: Tensor) -> Tensor:
        loss = loss_of(index)
        backwards(loss)
        return loss.detach()

    def by_pieces(index: Tensor) -> Tensor:
        """Accumulate gradients: the mean over all is the sum of each piece's mean times its share of the examples."""
        parts, all_targets = [], objective.training_target(targets_of(index))
        for piece in torch.split(index, batch):
            shares, factor = objective.shares(objective.training_target(targets_of(piece)), all_targets)
            loss = loss_of(piece, shares) * factor
            backwards(loss)
            parts.append(loss.detach())
        return sum(parts[1:], parts[0])

    backward = whole if train.accumulate == 1 else by_pieces
    penalty = learner.objective.penalty(learner.network)

    def gradients(index: Tensor) -> Tensor:
        for weight in weights:
            weight.grad = None  # faster than zeros, which the backward pass would add to
        loss = backward(index)
        if penalty is not None:  # once an update, however many pieces it has
            added = penalty()
            backwards(added)
            loss = loss + added.detach()
        if unscale is not None:
            unscale()  # before clipping, whose bounds are of gradients as they are
        limit()
        return loss

    return gradients
