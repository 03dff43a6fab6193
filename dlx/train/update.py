"""One update of the weights by a batch: what the loop calls, put together once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..lazy import nn, torch
from ..optim.direct import direct
from ..private import MissingError
from . import fallback
from .augmented import training_loss
from .stretch import stretches
from .traced import traced

if TYPE_CHECKING:
    from torch import Tensor

    from .fit import Job

Update = Callable[["Tensor"], "Tensor"]
"""From the examples of an update, by number, to the loss before it, which stays on the device."""


def updater(job: Job) -> Update:
    """What moves the weights of a training in progress."""
    step, takes = step_of(job), job.train.optimizer.takes
    closure = _whole_loss(job) if takes == "loss" else gradients_of(job)
    if takes == "gradient":
        closure = traced(job, closure)

    def by_gradients(index: Tensor) -> Tensor:
        loss = closure(index)
        step()
        return loss

    def by_closure(index: Tensor) -> Tensor:
        loss: Tensor = step(lambda: closure(index))
        return loss

    return by_gradients if takes == "gradient" else by_closure


def updates(job: Job, losses: list[Tensor]) -> Iterator[None]:
    """Move the weights update by update; each loss joins `losses` without leaving the device."""
    update = updater(job)
    for stretch in stretches(job, most=1):
        stretch.run(update)
        losses += job.losses
        job.losses.clear()
        job.marks.clear()
        yield


def step_of(job: Job) -> Callable[..., Any]:
    """The optimizer's step, after which the objective's limits hold again."""
    for error in missing_of(job.average, *getattr(job.optimizer, "parts", (job.optimizer,))):
        fallback.note([job], fallback.LISTS, error)
    own = direct(job.optimizer, lambda error: fallback.note([job], fallback.OPTIMIZER, error))
    step: Callable[..., Any] = job.compute.step(own)
    limit = job.objective.limit(job.network)

    def within_limits(*closure: Callable[[], Tensor]) -> Any:
        loss = step(*closure)
        if limit is not None:
            limit()
        return loss

    return step if limit is None else within_limits


def missing_of(*holders: object) -> list[MissingError]:
    """What torch lacks of the operations on lists by which optimizers and averages move weights."""
    return [error for one in holders for error in getattr(getattr(one, "lists", None), "missing", [])]


def _loss_of(job: Job) -> Update:
    """The loss of some examples, from where they are taken to the scalar."""
    network, take = job.compute.forward, job.parts["train"].take
    loss_function = job.compute.loss(training_loss(job.train, job.objective))

    def loss_of(index: Tensor) -> Tensor:
        x, y = take(index)
        return loss_function(network(x), y)

    return loss_of


def _whole_loss(job: Job) -> Update:
    """With what the objective adds for the weights themselves."""
    loss_of, penalty = _loss_of(job), job.objective.penalty(job.network)
    return loss_of if penalty is None else lambda index: loss_of(index) + penalty()


def gradients_of(job: Job) -> Update:
    """Leaves the gradients of the loss with the weights."""
    train, loss_of = job.train, _loss_of(job)
    weights = [p for group in job.optimizer.param_groups for p in group["params"]]
    batch = train.batch(len(job.parts["train"]))
    backwards, unscale = job.compute.backward, job.compute.unscale
    summed, share, targets = job.objective.loss.reduction == "sum", job.objective.loss.share, job.parts["train"].y

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
    penalty = job.objective.penalty(job.network)

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
