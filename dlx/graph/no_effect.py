"""Warnings of settings of `train` that no training gains from: rates of 0, factors of 1, a momentum that only grows,
times beyond the end, batches beyond the data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import NOWHERE, Problem, listed, plural
from ..spec import Experiment
from ..spec.syntax.nodes import OVERRIDE

if TYPE_CHECKING:
    from ..optim import Optimizer
    from ..schedules import Timeline
    from ..spec.sections.train import Train

EVERY = {
    "evaluate_every": "it is evaluated at its end alone",
    "save_every": "no state is saved on the way",
    "log_every": "its curve has no point on the way",
    "samples.every": "samples are made at its end alone",
}
"""Fields of `train` that hold the steps between two of something, and what comes of one beyond the end."""
NO_DROP = "the rate never drops"


class Time(NamedTuple):
    """A time in a training: the keys that say it, after how many, of what, and what is so where it never comes."""

    keys: tuple[str, ...]
    moment: int
    unit: str
    otherwise: str
    at_end: bool = False
    """Whether one that is the end itself comes too late as well."""

    def where(self, moment: int, length: int) -> str:
        """Return where it lies as seen from a training of so many of the same unit; empty where it comes in time."""
        if moment > length:
            return "beyond"
        return "at the end of" if self.at_end and moment == length else ""


def warnings(
    experiment: Experiment, timeline: Timeline | None = None, examples: int | None = None
) -> Iterator[Problem]:
    """Yield the warnings of one training; one that an override has cut short is told nothing about its times.

    With the `timeline` and the training `examples`, where they are known before the data are read, those of times in
    either unit, and of batches larger than the data.
    """
    train = experiment.train
    if train is None:
        return
    yield from _rates_of_zero(experiment, train)
    yield from _growing_momentum(experiment, train)
    yield from _factors_of_one(experiment, train)
    yield from _idle_decay(experiment, train)
    yield from () if examples is None else _larger_than_the_data(experiment, train, examples)
    unit, length = _length(train)
    for time in _times(experiment, train):
        where = time.where(time.moment, length)
        if time.unit == unit and where and not _is_cut_short(experiment, time, f"{unit}s"):
            last = plural(length, unit)
            message = f"`{time.keys[-1]}: {time.moment:,}` is {where} the {last} of the training: {time.otherwise}"
            yield _at(experiment, time.keys, message, f"Let it be below {last}, or leave it out.")
    for time, what in () if timeline is None else _in_the_other_unit(experiment, train, timeline):
        message = f"`{time.keys[-1]}: {time.moment:,}`{what}"
        yield _at(experiment, time.keys, message, "Let it come before the end, or leave it out.")


def notes(experiment: Experiment, timeline: Timeline, warned: Collection[Problem] = ()) -> tuple[str, ...]:
    """Return notes on times that count in the other unit than the length, but for those that `warned` has.

    How many steps make an epoch is known of some data only once they are read.
    """
    train, known = experiment.train, {problem.path for problem in warned}
    if train is None:
        return ()
    late = _in_the_other_unit(experiment, train, timeline)
    return tuple(
        f"`{'.'.join(time.keys)}: {time.moment:,}`{what}" for time, what in late if ".".join(time.keys) not in known
    )


def _in_the_other_unit(experiment: Experiment, train: Train, timeline: Timeline) -> Iterator[tuple[Time, str]]:
    """Yield the times that never come and count in the other unit than the length, each with what is so."""
    unit, _ = _length(train)
    for time in _times(experiment, train):
        step = time.moment if time.unit == "step" else timeline.updates(time.moment)
        where = time.where(step, timeline.steps)
        if time.unit != unit and where and not _is_cut_short(experiment, time, f"{unit}s"):
            steps = "" if time.unit == "step" else f" ({plural(step, 'step')})"
            yield time, f"{steps} is {where} the {plural(timeline.steps, 'step')} of the training: {time.otherwise}"


def _length(train: Train) -> tuple[str, int]:
    """Return the unit in which a training's length is written, and how many of it there are."""
    return ("step", train.steps) if train.steps is not None else ("epoch", train.epochs or 0)


def _is_cut_short(experiment: Experiment, time: Time, length: str) -> bool:
    """Whether an override sets the length of the training, as for a trial of some steps, and none the time."""
    written = experiment.place("train", length).file
    return written.startswith(OVERRIDE) and not experiment.place(*time.keys).file.startswith(OVERRIDE)


def _at(experiment: Experiment, keys: tuple[str, ...], message: str, hint: str) -> Problem:
    return Problem(message, hint, experiment.place(*keys), ".".join(keys))


def _optimizers(train: Train) -> list[tuple[tuple[str, ...], Optimizer]]:
    """Return the optimizer of each network, with its keys."""
    each = train.optimizers or {"": train.optimizer}
    return [(("train", "optimizer", *filter(None, [name]), one.kind), one) for name, one in each.items()]


def _schedules(train: Train) -> list[tuple[tuple[str, ...], Any]]:
    """Return the schedule of each network, with its keys; their classes are not imported, as few specs have one."""
    each = train.schedules or {"": train.schedule}
    return [(("train", "schedule", *filter(None, [name]), one.kind), one) for name, one in each.items()]


def _rates_of_zero(experiment: Experiment, train: Train) -> Iterator[Problem]:
    """Yield a warning for each optimizer, and each group of weights, whose rate of 0 moves no weight."""
    if any(one.moves_by_rate and not one.stands_still for _, one in _optimizers(train)):
        yield from _groups_at_rest(experiment, train)
    if any(group.lr for group in train.groups):
        return
    for keys, optimizer in _optimizers(train):
        if optimizer.stands_still:
            hint = "Give a rate above 0; `freeze` holds some weights and moves the others."
            message = f"`lr: 0` of {optimizer.kind} moves no weight: the network stays as it begins"
            yield _at(experiment, (*keys, "lr"), message, hint)


def _groups_at_rest(experiment: Experiment, train: Train) -> Iterator[Problem]:
    """Yield a warning for each group of weights that has a rate of 0 of its own."""
    for index, group in enumerate(train.groups):
        for field in ("lr", "lr_scale"):
            if getattr(group, field) == 0:
                message = f"`{field}: 0` of the group {listed(group.patterns)} moves no weight of it"
                hint = "Give a rate above 0; `freeze` holds weights, and takes no gradients of them."
                node = experiment.root.at("train", "groups", index, field)
                mark = node.mark if node is not None else experiment.place("train", "groups")
                yield Problem(message, hint, mark, f"train.groups.{index}.{field}")


def _growing_momentum(experiment: Experiment, train: Train) -> Iterator[Problem]:
    """Yield a warning for each optimizer whose velocity keeps all that it ever had, or more."""
    for keys, optimizer in _optimizers(train):
        if (momentum := getattr(optimizer, "momentum", 0)) >= 1:
            message = f"`momentum: {momentum:g}` of {optimizer.kind} forgets no gradient: steps grow without end"
            yield _at(experiment, (*keys, "momentum"), message, "Give one below 1, such as 0.9.")


def _factors_of_one(experiment: Experiment, train: Train) -> Iterator[Problem]:
    """Yield a warning for each schedule that multiplies the rate by 1."""
    for keys, schedule in _schedules(train):
        if getattr(schedule, "gamma", None) == 1:
            message = f"`gamma: 1` of {schedule.kind} leaves the rate as it is"
            yield _at(experiment, (*keys, "gamma"), message, "Give another one, or drop the schedule.")


def _idle_decay(experiment: Experiment, train: Train) -> Iterator[Problem]:
    """Yield a warning where weights are spared of a weight decay that there is not."""
    each = [one for _, one in _optimizers(train)]
    is_set = any(one.decays or "weight_decay" in one.model_fields_set for one in each)  # 0 too, as a spec of others
    if train.decay == "weights" and not is_set:
        kinds = dict.fromkeys(one.kind for one in each)
        decay = f"{listed(kinds)} decay{'s' if len(kinds) == 1 else ''} nothing"
        message = f"`decay: weights` spares biases and norms, and {decay}"
        yield _at(experiment, ("train", "decay"), message, "Give the optimizer a `weight_decay`, or leave it out.")


def _larger_than_the_data(experiment: Experiment, train: Train, examples: int) -> Iterator[Problem]:
    """Yield a warning for a batch, or batches of one update, that want more examples than there are.

    Where an override has taken examples away, as for a quick try, nothing is said of a batch that the spec has.
    """
    size, batches = train.batch_size, train.accumulate
    of_data = experiment.place("data", experiment.data.kind, "train") if experiment.data is not None else NOWHERE

    def warning(field: str, message: str, hint: str) -> Iterator[Problem]:
        place = experiment.place("train", field)
        if field in train.model_fields_set and (
            place.file.startswith(OVERRIDE) or not of_data.file.startswith(OVERRIDE)
        ):
            yield Problem(message, hint, place, f"train.{field}")

    there = f"the {plural(examples, 'training example')}"
    if isinstance(size, int) and not train.is_whole and size > examples:
        message = f"`batch_size: {size:,}` is more than {there}: a batch is all of them"
        yield from warning("batch_size", message, "Write `batch_size: all`, or a smaller one.")
    elif batches > 1 and train.batch(examples) * (batches - 1) >= examples:
        fewer = -(-examples // train.batch(examples))
        message = f"`accumulate: {batches:,}` is more than there are batches of {there}: {fewer:,}"
        yield from warning("accumulate", message, f"Let it be {fewer:,} at most." if fewer > 1 else "Leave it out.")


def _times(experiment: Experiment, train: Train) -> Iterator[Time]:
    """Yield the times that a spec names."""
    for name, otherwise in EVERY.items():
        count = train.samples.every if name == "samples.every" and train.samples else getattr(train, name, None)
        if count is not None:
            yield Time(("train", *name.split(".")), count, "step", otherwise)
    for keys, schedule in _schedules(train):
        yield from _times_of(schedule, keys)
    if train.batch_schedule is not None:
        first = min(train.batch_schedule.milestones)
        yield Time(("train", "batch_schedule", "milestones"), first, "epoch", "batches never grow", at_end=True)
    for pattern in experiment.freeze:
        if pattern.until is not None:
            unit = "step" if pattern.until.step else "epoch"
            count = pattern.until.step or pattern.until.epoch or 0
            yield Time(("freeze", unit), count, unit, f"`{pattern.text}` never moves", at_end=True)


def _times_of(schedule: Any, keys: tuple[str, ...]) -> Iterator[Time]:
    """Yield the times of a schedule."""
    if schedule.kind == "warmup":
        unit = "step" if schedule.steps else "epoch"
        count = schedule.steps or schedule.epochs
        yield Time((*keys, f"{unit}s"), count, unit, "the rate never comes to the whole `lr`")
    elif schedule.kind == "step":
        yield Time((*keys, "step_size"), schedule.step_size, schedule.unit, NO_DROP, at_end=True)
    elif schedule.kind == "multi_step":
        yield Time((*keys, "milestones"), min(schedule.milestones), schedule.unit, NO_DROP, at_end=True)
