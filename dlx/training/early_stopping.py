"""Early stopping, the time limit, and the sentences on how a training ended."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

from ..errors import Mark, Problem, RunError, did_you_mean, plural
from ..lazy import torch
from ..metrics import Mode
from ..objectives import Objective
from ..spec import Experiment, Train, objective_of
from ..spec.sections.stopping import EarlyStopping

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .fit import Job

now = time.monotonic


def improves(value: float, best: float | None, mode: Mode, by: float = 0.0) -> bool:
    """Whether `value` is better than `best` by more than `by`. NaN never is, nor infinity where `best` is None."""
    # as torch's ReduceLROnPlateau: the best begins at infinity, which a first infinite loss does not beat
    if mode == "max":
        return value > (-inf if best is None else best) + by
    return value < (inf if best is None else best) - by


def mode_of(metric: str, objective: Objective) -> Mode:
    """Return whether a metric is better where it is higher (`max`) or lower (`min`)."""
    return objective.modes().get(metric.removeprefix("valid/"), "min")


def best_metric(train: Train) -> str:
    """Return the metric that `keep_best` ranks by: its own, else that of early stopping, else the loss."""
    assert train.keep_best is not None
    early = train.early_stopping.metric if train.early_stopping is not None else "valid/loss"
    return train.keep_best.metric or early


def best_mode(job: Job) -> Mode:
    """Return which way the metric of `keep_best` is better."""
    keep, early, metric = job.train.keep_best, job.train.early_stopping, best_metric(job.train)
    assert keep is not None
    same = early.mode if early is not None and early.metric == metric else None
    return keep.mode or same or mode_of(metric, job.objective)


class EarlyStoppingState:
    """State of early stopping: the best evaluation, its weights, and how many since then were no better."""

    def __init__(self, early: EarlyStopping, objective: Objective) -> None:
        self.early, self.metric = early, early.metric
        self.mode = early.mode or mode_of(self.metric, objective)
        self.best: float | None = None
        self.best_step = 0
        self.bad_evaluations = 0
        """Evaluations in a row that were no better."""
        self.weights: dict[str, Tensor] = {}
        """Weights of the best evaluation, where they are to be restored."""

    @property
    def should_stop(self) -> bool:
        return self.bad_evaluations >= self.early.patience

    def update(self, step: int, measured: dict[str, float], network: nn.Module) -> None:
        """Count an evaluation, and copy the weights if it is the best. RunError where it lacks the metric."""
        if self.metric not in measured:
            available = f"there are {', '.join(measured)}" if measured else "the data has no `valid` part"
            hint = did_you_mean(self.metric, measured) if measured else "`valid: 0.1` holds some out."
            raise RunError(f"early_stopping follows {self.metric}, and {available}", hint=hint)
        value = measured[self.metric]
        if not improves(value, self.best, self.mode, self.early.min_delta):
            self.bad_evaluations += 1
            return
        self.best, self.best_step, self.bad_evaluations = value, step, 0
        if self.early.restore_best:
            self.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def restore_best(self, step: int, network: nn.Module) -> bool:
        """Restore the weights of the best evaluation unless that is the one at `step`; whether it did."""
        if not self.weights or self.best_step == step:
            return False
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(self.weights[name])
        return True

    def state(self) -> dict[str, Any]:
        """Return the state as plain values and tensors."""
        return {"best": self.best, "best_step": self.best_step, "bad": self.bad_evaluations, "weights": self.weights}

    def restore(self, state: dict[str, Any], network: nn.Module) -> None:
        """Restore what `state` returned, with weights on the devices of `network`'s."""
        self.best, self.best_step, self.bad_evaluations = state["best"], state["best_step"], state["bad"]
        devices = {name: tensor.device for name, tensor in network.state_dict().items()}
        self.weights = {name: tensor.to(devices[name]) for name, tensor in state["weights"].items()}


def ends_at(train: Train) -> float | None:
    """Return the time on the clock `now` at which `max_time` is over; None without a limit."""
    return None if train.limit is None else now() + train.limit


# --- before it starts -----------------------------------------------------------------------------------------------


def problems(experiment: Experiment) -> list[Problem]:
    """Return a problem for each field that follows a metric which is not measured."""
    train = experiment.train
    if train is None or experiment.data is None:
        return []
    found = []
    known = [f"valid/{name}" for name in objective_of(experiment).modes()]
    following = _following(train)
    if train.keep_best is not None and train.keep_best.metric is None and train.early_stopping is not None:
        del following["keep_best"]  # it follows what early stopping does
    for field, metric in following.items():
        if metric not in known:
            message = f"`{field}` follows {metric}, which is not measured"
            hint = did_you_mean(metric, known)
            found.append(Problem(message, hint, _place(experiment, field), f"train.{field}"))
    return found


def problems_without_valid(experiment: Experiment, valid: int) -> list[Problem]:
    """Return a problem for each field that follows a metric, where the `valid` part has no examples."""
    assert experiment.train is not None
    if valid:
        return []
    message = "wants evaluations on held-out data, and the data has no `valid` part"
    hint = "`valid: 0.1` under `data` holds some out."
    return [
        Problem(f"`{field}` {message}", hint, _place(experiment, field), f"train.{field}")
        for field in _following(experiment.train)
    ]


def _following(train: Train) -> dict[str, str]:
    """Return the fields of `train` that follow a metric, with the metric."""
    early = {"early_stopping": train.early_stopping.metric} if train.early_stopping is not None else {}
    schedules = {f"schedule.{name}": one for name, one in train.schedules.items()} or {"schedule": train.schedule}
    plateau = {field: watch.metric for field, one in schedules.items() if (watch := one.watch()) is not None}
    return early | plateau | ({"keep_best": best_metric(train)} if train.keep_best is not None else {})


def _place(experiment: Experiment, field: str) -> Mark:
    return experiment.place("train", *field.split("."))


# --- how it ended ---------------------------------------------------------------------------------------------------


def outcome(job: Job) -> dict[str, Any]:
    """Return how a training ended, as JSON: whether it stopped early, its best evaluation, its averages."""
    stop, averages = job.progress.stopping, job.learner.averages
    result: dict[str, Any] = {"stopped_early": stop is not None and stop.should_stop, "best": None, "average": None}
    if stop is not None and stop.best is not None:
        result["best"] = {"metric": stop.metric, "value": stop.best, "step": stop.best_step}
        result["best"]["restored"] = bool(stop.weights)
    counted = {name: {"kind": one.average.kind, "updates": one.count} for name, one in averages.items()}
    if counted:
        result["average"] = counted.get("network", counted)
    return result


def halt_note(job: Job) -> str:
    """Return the sentence on a halt: at the step at which it was to halt, or because of `max_time`."""
    at = f"{job.progress.step:,} of {job.total_steps:,}"
    if job.progress.has_to_halt:
        return f"it was to halt at step {job.progress.until:,}, and has at {at}"
    return f"the time limit of {job.train.max_time} was reached at step {at}"


def notes(job: Job) -> tuple[str, ...]:
    """Return sentences on how the training ended, and on classes that metrics leave out."""
    sentences: list[str] = []
    stop, averages = job.progress.stopping, job.learner.averages
    if stop is not None and stop.should_stop:
        reason = f"{stop.metric} was no better for {stop.early.patience} evaluations"
        sentences.append(f"stopped early at step {job.progress.step:,} of {job.total_steps:,}: {reason}")
    if stop is not None and stop.best is None:
        sentences.append(f"{stop.metric} was never a finite number, so no evaluation was the best")
    elif stop is not None:
        which = (
            "the weights and the figures are those of this step" if stop.weights else "the weights are the last ones"
        )
        sentences.append(f"best {stop.metric} {stop.best:.4g} at step {stop.best_step:,}; {which}")
    for name, average in averages.items():
        weights = "the weights" if len(job.learner.networks) == 1 else f"the weights of {name}"
        if not average.count:
            sentences.append(
                f"no update was as late as the start of {average.average.kind}: {weights} are the last ones"
            )
            continue
        kind = f"{average.average.kind} over {plural(average.count, 'update')}"
        sentences.append(f"{weights} are averaged, {kind}: evaluations and checkpoints are of the average")
    return (*sentences, *metric_notes(job))


def metric_notes(job: Job) -> tuple[str, ...]:
    """Return the notes of the last evaluations, such as on classes that a part lacks; equal ones once."""
    metrics: dict[tuple[str, str], list[str]] = {}
    for part, notes in job.progress.metric_notes.items():
        for metric, note in notes.items():
            metrics.setdefault((part, note), []).append(f"{part}/{metric}")
    return tuple(f"{', '.join(names)}: {note}" for (_, note), names in metrics.items())
