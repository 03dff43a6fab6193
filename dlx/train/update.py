"""One update of the weights by a batch: what the loop calls, put together once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor

    from .fit import Job

Update = Callable[["Tensor"], "Tensor"]
"""From the examples of an update, by number, to the loss before it, which stays on the device."""


def updater(job: Job) -> Update:
    """What moves the weights of a training in progress."""
    step = _step(job)
    takes = job.train.optimizer.takes
    closure = _whole_loss(job) if takes == "loss" else _gradients(job)

    def by_gradients(index: Tensor) -> Tensor:
        loss = closure(index)
        step()
        return loss

    def by_closure(index: Tensor) -> Tensor:
        loss: Tensor = step(lambda: closure(index))
        return loss

    return by_gradients if takes == "gradient" else by_closure


def _step(job: Job) -> Callable[..., Any]:
    """The optimizer's step, after which the objective's limits hold again."""
    step: Callable[..., Any] = job.optimizer.step
    limit = job.objective.limit(job.network)

    def within_limits(*closure: Callable[[], Tensor]) -> Any:
        loss = step(*closure)
        if limit is not None:
            limit()
        return loss

    return step if limit is None else within_limits


def _loss_of(job: Job) -> Update:
    """The loss of some examples, from where they are taken to the scalar."""
    network, take, loss_function = job.network, job.parts["train"].take, job.objective.training_loss()

    def loss_of(index: Tensor) -> Tensor:
        x, y = take(index)
        return loss_function(network(x), y)

    return loss_of


def _whole_loss(job: Job) -> Update:
    """With what the objective adds for the weights themselves."""
    loss_of, penalty = _loss_of(job), job.objective.penalty(job.network)
    return loss_of if penalty is None else lambda index: loss_of(index) + penalty()


def _gradients(job: Job) -> Update:
    """Leaves the gradients of the loss with the weights."""
    train, loss_of = job.train, _loss_of(job)
    weights = [p for group in job.optimizer.param_groups for p in group["params"]]
    batch = train.batch(len(job.parts["train"]))
    summed, share, targets = job.objective.loss.reduction == "sum", job.objective.loss.share, job.parts["train"].y

    def whole(index: Tensor) -> Tensor:
        loss = loss_of(index)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def by_pieces(index: Tensor) -> Tensor:
        """A mean over all is the mean of each piece, times its share of what the mean is over."""
        parts = []
        for piece in torch.split(index, batch):
            loss = loss_of(piece) * (1 if summed else share(targets[piece]) / share(targets[index]))
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append(loss.detach())
        return sum(parts[1:], parts[0])

    backward = whole if train.accumulate == 1 else by_pieces
    penalty = job.objective.penalty(job.network)

    def gradients(index: Tensor) -> Tensor:
        for weight in weights:
            weight.grad = None
        loss = backward(index)
        if penalty is not None:  # once an update, however many pieces it has
            added = penalty()
            added.backward()  # type: ignore[no-untyped-call]
            loss = loss + added.detach()
        if train.clip_value is not None:
            nn.utils.clip_grad_value_(weights, train.clip_value)
        if train.clip_norm is not None:
            nn.utils.clip_grad_norm_(weights, train.clip_norm)
        return loss

    return gradients
