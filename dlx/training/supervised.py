"""One network that learns targets: its step as plain functions, replayed flat where that is quicker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..lazy import nn, torch
from ..metrics import RUNNING_LOSS
from ..objectives import Supervised
from ..schedules import Timeline
from ..spec import Train
from .batches.augmentation import training_loss
from .batches.feed import Examples
from .learner import EVALUATION_BATCH, Learner, Update
from .progress import Progress
from .replay.traced import traced
from .weight_averages import Averaged

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

    from .batches.data_part import DataPart


class SupervisedLearner(Learner):
    """Moves one network by one loss. A step takes the numbers of its examples."""

    by_number = True
    losses = (RUNNING_LOSS,)
    periods = (1,)
    objective: Supervised
    feed: Examples

    def __init__(
        self,
        network: nn.Module,
        objective: Supervised,
        train: Train,
        progress: Progress,
        feed: Examples,
        class_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__({"network": network}, network, objective, train, progress, feed)
        self.network, self.class_names = network, class_names

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.paces["network"].optimizer

    @property
    def average(self) -> Averaged | None:
        return self.averages.get("network")

    def moved(self) -> tuple[str, ...]:
        return ("network",)

    def spanned(self) -> Timeline:
        return self.train.span(len(self.feed.part))

    def updater(self) -> Update:
        """From the numbers of the examples of an update to the loss before it, a scalar on the device."""
        step, takes = step_of(self), self.train.optimizer.takes
        closure = _whole_loss(self) if takes == "loss" else gradients_of(self)
        if takes == "gradient":
            closure = traced(self, closure)

        def by_gradients(index: Tensor) -> Tensor:
            loss = closure(index)
            step()
            return loss

        def by_closure(index: Tensor) -> Tensor:
            loss: Tensor = step(same_draws(lambda: closure(index), self.compute.device))
            return loss

        return by_gradients if takes == "gradient" else by_closure

    def evaluate(self, name: str, part: DataPart) -> dict[str, float]:
        self.module.eval()
        evaluation = self.objective.evaluation()
        with torch.inference_mode():
            for outputs, y in part.answers(self.compute.of(self.module), EVALUATION_BATCH):
                evaluation.add(outputs, y)
            result, tables = evaluation.result(), evaluation.tables()
        self.progress.metric_notes[name] = evaluation.notes(self.class_names)
        if tables:
            self.progress.tables[name] = tables
        self.module.train()
        return {f"{name}/{key}": value for key, value in result.items()}


def same_draws(closure: Callable[[], Tensor], device: Device) -> Callable[[], Tensor]:
    """Let each call of a step draw the same random numbers: an optimizer that looks again sees the same loss.

    What the optimizer itself draws between two calls is left as it is.
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
    """The optimizer's step, after which the objective's limits hold again."""
    step: Callable[..., Any] = learner.compute.step(learner.direct(learner.optimizer), learner.optimizer)
    limit = learner.objective.limit(learner.network)

    def within_limits(*closure: Callable[[], Tensor]) -> Any:
        loss = step(*closure)
        if limit is not None:
            limit()
        return loss

    return step if limit is None else within_limits


def _loss_of(learner: SupervisedLearner) -> Update:
    """The loss of some examples, from where they are taken to the scalar."""
    network, take = learner.compute.forward, learner.feed.part.take
    loss_function = learner.compute.loss(training_loss(learner.train, learner.objective))

    def loss_of(index: Tensor) -> Tensor:
        x, y = take(index)
        return loss_function(network(x), y)

    return loss_of


def _whole_loss(learner: SupervisedLearner) -> Update:
    """With what the objective adds for the weights themselves."""
    loss_of, penalty = _loss_of(learner), learner.objective.penalty(learner.network)
    return loss_of if penalty is None else lambda index: loss_of(index) + penalty()


def gradients_of(learner: SupervisedLearner) -> Update:
    """Leaves the gradients of the loss with the weights."""
    train, loss_of = learner.train, _loss_of(learner)
    weights = [p for group in learner.optimizer.param_groups for p in group["params"]]
    batch = train.batch(len(learner.feed.part))
    backwards, unscale = learner.compute.backward, learner.compute.unscale(learner.optimizer)
    loss_kind, targets = learner.objective.loss, learner.feed.part.y
    summed, share = loss_kind.reduction == "sum", loss_kind.normalizer

    def whole(index: Tensor) -> Tensor:
        loss = loss_of(index)
        backwards(loss)
        return loss.detach()

    def by_pieces(index: Tensor) -> Tensor:
        """A mean over all is the mean of each piece, times its share of what the mean is over."""
        parts = []
        for piece in torch.split(index, batch):
            loss = loss_of(piece) * (1 if summed else share(targets[piece]) / share(targets[index]))
            backwards(loss)
            parts.append(loss.detach())
        return sum(parts[1:], parts[0])

    backward = whole if train.accumulate == 1 else by_pieces
    penalty = learner.objective.penalty(learner.network)

    def gradients(index: Tensor) -> Tensor:
        for weight in weights:
            weight.grad = None
        loss = backward(index)
        if penalty is not None:  # once an update, however many pieces it has
            added = penalty()
            backwards(added)
            loss = loss + added.detach()
        if unscale is not None:
            unscale()
        if train.clip_value is not None:
            nn.utils.clip_grad_value_(weights, train.clip_value)
        if train.clip_norm is not None:
            nn.utils.clip_grad_norm_(weights, train.clip_norm)
        return loss

    return gradients
