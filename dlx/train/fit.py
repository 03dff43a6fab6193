"""The loop: a generator of records. It has never heard of MLflow, a run folder or a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..data import Sets, Split
from ..errors import RunError
from ..lazy import torch
from ..objectives import Objective
from ..spec import Train

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch import device as Device

EVALUATION_BATCH = 1024
POINTS = 500
"""Points of the loss curve where the spec does not say."""
EVALUATIONS = 100


@dataclass(frozen=True, slots=True)
class Record:
    """Something worth keeping: a point of the loss curve, an evaluation, or the end. `epoch` counts from 1."""

    record: Literal["step", "evaluation", "end"]
    step: int
    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Part:
    """One part of the data on the device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass
class Job:
    """A training in progress: everything that `fit` moves, and where it stands."""

    network: nn.Module
    objective: Objective
    train: Train
    parts: dict[str, Part]
    """"train", and "valid" and "test" where there are any."""
    step: int = 0
    epoch: int = 0
    optimizer: torch.optim.Optimizer = field(init=False)
    order: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = self.train.optimizer.build(p for p in self.network.parameters() if p.requires_grad)
        self.order = torch.Generator().manual_seed(self.train.seed)

    @property
    def batches_per_epoch(self) -> int:
        n, batch = len(self.parts["train"]), self.train.batch_size
        return n // batch if self.train.drop_last and n >= batch else math.ceil(n / batch)

    @property
    def total_steps(self) -> int:
        return self.train.steps or (self.train.epochs or 0) * self.batches_per_epoch

    @property
    def log_every(self) -> int:
        return self.train.log_every or max(1, self.total_steps // POINTS)

    @property
    def evaluate_every(self) -> int:
        """Steps between two evaluations: as given, or one epoch, or as many as keep it to about a hundred."""
        epoch = self.batches_per_epoch
        return self.train.evaluate_every or epoch * math.ceil(self.total_steps / epoch / EVALUATIONS)


def on_device(sets: Sets, device: Device) -> dict[str, Part]:
    """The parts of a data set as tensors."""
    given: dict[str, Split | None] = {"train": sets.train, "valid": sets.valid, "test": sets.test}
    return {
        name: Part(torch.from_numpy(split.x).to(device), torch.from_numpy(split.y).to(device))
        for name, split in given.items()
        if split is not None and len(split)
    }


def fit(job: Job) -> Iterator[Record]:
    """Train to the end, yielding points of the loss curve and evaluations. RunError where the loss is not finite."""
    losses: list[Tensor] = []
    log_every, evaluate_every, total = job.log_every, job.evaluate_every, job.total_steps
    last: dict[str, float] = {}
    for _ in updates(job, losses):
        if job.step % log_every == 0 or job.step == total:
            last = curve_point(job, losses)
            yield Record("step", job.step, job.epoch, last)
        if job.step % evaluate_every == 0 and job.step < total:
            check_finite(job, losses)
            yield Record("evaluation", job.step, job.epoch, evaluate(job, "valid"))
    final = {"train/loss": last["train/loss"]} | evaluate(job, "valid")
    yield Record("evaluation", job.step, job.epoch, {k: v for k, v in final.items() if k.startswith("valid/")})
    yield Record("end", job.step, job.epoch, final | evaluate(job, "test"))


def updates(job: Job, losses: list[Tensor]) -> Iterator[None]:
    """Move the weights batch by batch; each loss joins `losses` without leaving the device."""
    network, optimizer, schedule = job.network.train(), job.optimizer, job.train.schedule
    loss_function = job.objective.loss_function()
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    rates = [group["lr"] for group in optimizer.param_groups]
    part, total, per_epoch = job.parts["train"], job.total_steps, job.batches_per_epoch
    factor = 1.0
    while job.step < total:
        job.epoch += 1
        for index in order(job, per_epoch):
            if (now := schedule.factor(job.step, job.epoch - 1)) != factor:
                factor = now
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            for weight in weights:
                weight.grad = None
            loss = loss_function(network(part.x[index]), part.y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
            job.step += 1
            yield
            if job.step == total:
                return


def order(job: Job, batches: int) -> Iterator[Tensor]:
    """The examples of each batch of one epoch."""
    part, batch = job.parts["train"], job.train.batch_size
    n = len(part)
    drawn = torch.randperm(n, generator=job.order) if job.train.shuffle else torch.arange(n)
    drawn = drawn.to(part.x.device)
    return iter(torch.split(drawn, batch)[:batches])


def curve_point(job: Job, losses: list[Tensor]) -> dict[str, float]:
    """The mean loss since the last point, and the learning rate that was used."""
    values = check_finite(job, losses)
    losses.clear()
    return {"train/loss": sum(values) / len(values), "lr": float(job.optimizer.param_groups[0]["lr"])}


def check_finite(job: Job, losses: list[Tensor]) -> list[float]:
    """The losses as numbers: the one place where the host waits for the device."""
    values: list[float] = torch.stack(losses).tolist() if losses else []
    first = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
    if first is not None:
        raise RunError(
            f"the loss is {values[first]} at step {job.step - len(values) + 1 + first:,}",
            hint="Lower the learning rate, or look for a division by zero or a logarithm of zero in the data.",
        )
    return values


def evaluate(job: Job, name: str) -> dict[str, float]:
    """Loss and metrics over one part, `valid/loss` and so on; nothing where the part is empty."""
    part = job.parts.get(name)
    if part is None:
        return {}
    job.network.eval()
    loss_function = job.objective.loss_function()
    summed = job.objective.loss.reduction == "sum"
    sums: dict[str, Tensor] = {}
    with torch.inference_mode():
        for x, y in zip(torch.split(part.x, EVALUATION_BATCH), torch.split(part.y, EVALUATION_BATCH), strict=True):
            output = job.network(x)
            measured = {"loss": loss_function(output, y), **job.objective.measure(output, y)}
            for key, value in measured.items():
                weight = 1 if key == "loss" and summed else len(x) / len(part)
                sums[key] = sums.get(key, 0) + value * weight
    job.network.train()
    return {f"{name}/{key}": float(value) for key, value in sums.items()}
