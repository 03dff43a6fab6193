"""What each phase of an objective calls, moves and reads, how often, and how many steps that makes: without torch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, lcm
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..schedules import Timeline

if TYPE_CHECKING:
    from ..data import Facts
    from ..objectives import Call, Phase
    from ..spec import Experiment, Train


@dataclass(frozen=True)
class PhasePlan:
    """A phase of a step with the calls of networks in it."""

    phase: Phase
    calls: tuple[Call, ...]

    @property
    def name(self) -> str:
        return self.phase.name

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the networks that it calls, each once, in their order."""
        return tuple(dict.fromkeys(call.network for call in self.calls))

    @property
    def how_often(self) -> str:
        """How often it runs: `once`, `5 times`, `every 2 steps`, `5 times every 2 steps`."""
        times = f"{self.phase.times} times" if self.phase.times > 1 else ""
        every = f"every {self.phase.every} steps" if self.phase.every > 1 else ""
        return " ".join(filter(None, (times, every))) or "once"

    def as_json(self) -> dict[str, Any]:
        """Return what `inspect --json` says of it."""
        phase = self.phase
        return {
            "name": phase.name,
            "calls": [call.as_json() for call in self.calls],
            "moves": list(phase.moves),
            "reads": list(phase.reads),
            "times": phase.times,
            "every": phase.every,
        }


def phase_plans(phases: Sequence[Phase], calls: Sequence[Call]) -> tuple[PhasePlan, ...]:
    """Return the phases with their calls; a call that names no phase is one of each."""
    return tuple(
        PhasePlan(phase, tuple(call for call in calls if not call.phases or phase.name in call.phases))
        for phase in phases
    )


def batches_of(phases: Sequence[Phase], step: int) -> int:
    """Return the batches that a step takes: one a repetition of a phase, and one that phases before those share."""
    taken = 0
    for phase in phases:
        if phase.reads and step % phase.every == 0 and (phase.times > 1 or not taken):
            taken += phase.times
    return taken


def steps_for(phases: Sequence[Phase], batches: int) -> int:
    """Return the fewest steps that take so many batches; a step counts as one where no phase reads fields."""
    # phases run every n-th step, so what a step takes repeats after the least common multiple of the periods
    cycle = list(accumulate(batches_of(phases, step) for step in range(lcm(*(phase.every for phase in phases)))))
    if not cycle[-1] or not batches:
        return batches
    whole, rest = divmod(batches - 1, cycle[-1])
    return whole * len(cycle) + bisect_left(cycle, rest + 1) + 1


def span(phases: Sequence[Phase], train: Train, batches: int | None) -> Timeline:
    """Return the steps of a training with so many batches an epoch. DlxError for epochs of data without any."""
    if batches is None and train.steps is None:
        raise DlxError("the data has no epochs", hint="Write `train: {steps: N}`.")
    per_epoch = steps_for(phases, batches) if batches else train.steps or 1
    return Timeline(train.steps or steps_for(phases, ceil((train.epochs or 0) * (batches or 0))), per_epoch)


def known_examples(experiment: Experiment, facts: Facts | None) -> int | None:
    """Return the examples that a training takes; None where only the data tells, once it is read."""
    data = experiment.data
    if data is None or facts is None:
        return None
    from ..data import Dataset  # not before: a spec without data does without the room of data sets

    if type(data).feed is not Dataset.feed:
        return None
    labelled = getattr(data, "labelled", None)
    return labelled.count if labelled is not None and labelled.others == "drop" else facts.examples


def known_span(experiment: Experiment, examples: int | None, plans: Sequence[PhasePlan]) -> Timeline | None:
    """Return the steps of a training on so many examples, and how many make an epoch; None where unknown."""
    train, objective = experiment.train, experiment.objective
    if train is None or examples is None or not (batches := train.updates(examples)):
        return None  # where `drop_last` leaves no batch, that is a mistake of its own
    from ..objectives import Supervised

    if objective is None or isinstance(objective, Supervised):
        return train.span(examples)
    return span([plan.phase for plan in plans], train, batches) if plans else None
