"""Trainings in progress as their events tell of them: steps, speed, and the metrics that a view shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING

from .sparkline import History

if TYPE_CHECKING:
    from ..experiment.recorder import TrainingStarted
    from ..runs.folder import RunFolder
    from ..training.fit import Record

WINDOW = 20.0
"""Seconds over which the speed is measured."""
METRICS = 3
"""Metrics of a training that a view shows at most."""


class TrainingState:
    """One training in progress, or one stage of it."""

    def __init__(self, started: TrainingStarted, now: float) -> None:
        self.started, self.began = started, now
        self.epoch, self.status = 0, "running"
        self.histories: dict[str, History] = {}
        self.best: tuple[float, int] | None = None
        """The best value of the main metric so far, and its step."""
        self.ended: float | None = None
        self.last_step = started.step
        self.samples: deque[tuple[float, int]] = deque([(now, started.step)])

    @property
    def label(self) -> str:
        return f"seed {self.started.seed}"

    @property
    def step(self) -> int:
        """Updates up to now. It is a number that the host has: no device is waited for."""
        return self.last_step if self.ended is not None else max(self.last_step, self.started.steps_taken())

    @property
    def main(self) -> str | None:
        """The metric that is followed: the first of the validation part that is no loss, else its loss."""
        names = [name for name in self.histories if name.startswith("valid/")]
        return next((name for name in names if not name.endswith("/loss")), next(iter(names), None))

    def add(self, record: Record, now: float) -> None:
        """Take the figures of a record."""
        self.last_step, self.epoch = record.step, record.epoch
        if record.record in {"step", "evaluation"}:
            for name, value in record.metrics.items():
                if record.record == "evaluation" or name.startswith("train/"):
                    self.histories.setdefault(name, History()).add(value)
        if record.record == "evaluation":
            self._compare(record)
        if record.record == "end":
            self.status, self.ended = "finished", now

    def _compare(self, record: Record) -> None:
        main = self.main
        mode = self.started.modes.get((main or "").removeprefix("valid/"))
        value = record.metrics.get(main or "")
        if mode is None or value is None or not isfinite(value):
            return
        sign = -1 if mode == "max" else 1
        if self.best is None or sign * value < sign * self.best[0]:
            self.best = value, record.step

    def sample(self, now: float) -> None:
        """Note how far it is, for its speed."""
        if self.ended is None:
            self.samples.append((now, self.step))
            while len(self.samples) > 2 and now - self.samples[0][0] > WINDOW:
                self.samples.popleft()

    @property
    def speed(self) -> float | None:
        """Updates a second over the last seconds; None before the first."""
        (began, first), (now, last) = self.samples[0], self.samples[-1]
        return (last - first) / (now - began) if last > first and now > began else None

    @property
    def examples_per_step(self) -> float:
        """Examples of an update, or their tokens where they are texts."""
        return self.started.examples_per_step(self.epoch) * max(1, self.started.tokens)

    @property
    def shown(self) -> list[str]:
        """The metrics that are shown: losses of the steps, the main one, and the loss of the validation part."""
        losses = [name for name in self.histories if name.startswith("train/")][: METRICS - 1]
        held = [name for name in (self.main, "valid/loss") if name in self.histories]
        return list(dict.fromkeys([*losses, *(str(name) for name in held)]))[:METRICS]


class TrainingStates:
    """The trainings of a command, in the order in which they began."""

    def __init__(self, count: int = 1) -> None:
        """`count` trainings are expected."""
        self.count = count
        self.began: float | None = None
        self.by_run: dict[str, TrainingState] = {}
        self.keys: dict[RunFolder, str] = {}
        """Keys of the runs of records: paths are slow to take apart, and thousands of records come."""

    def __iter__(self) -> Iterator[TrainingState]:
        return iter(self.by_run.values())

    def start(self, started: TrainingStarted, now: float) -> TrainingState | None:
        """Add a training; return the state of the stage of its run that has ended with this."""
        self.began = now if self.began is None else self.began
        before = self.by_run.get(started.run.key)
        self.by_run[started.run.key] = TrainingState(started, now)
        return before

    def add(self, record: Record, now: float) -> None:
        """Pass a record on to its training; one that does not say its run is of the last that began."""
        run = getattr(record, "run", None)
        if run is not None and run not in self.keys:
            self.keys[run] = run.key
        state = self.by_run.get(self.keys[run]) if run is not None else next(reversed(self.by_run.values()), None)
        if state is not None:
            state.add(record, now)

    @property
    def active(self) -> list[TrainingState]:
        return [one for one in self if one.ended is None]

    @property
    def progress(self) -> tuple[int, int]:
        """Updates taken, and those of all trainings that are expected, where these are as long as the last."""
        states = list(self)
        total = sum(one.started.steps if one.ended is None else one.step for one in states)
        missing = max(0, self.count - len(states))
        return sum(one.step for one in states), total + missing * (states[-1].started.steps if states else 0)

    def sample(self, now: float) -> None:
        for one in self:
            one.sample(now)

    def left(self, now: float) -> float | None:
        """Return the seconds until the last of them ends; None while there is no speed."""
        active = self.active
        waits = [(one.started.steps - one.step) / one.speed for one in active if one.speed]
        if len(waits) < len(active) or not waits:
            return None
        missing = max(0, self.count - len(self.by_run))
        longest = max(waits)
        whole = max(one.started.steps / one.speed for one in active if one.speed)
        return max(0.0, longest + missing * whole)

    @property
    def examples_per_second(self) -> tuple[float, str] | None:
        """Examples, or tokens of texts, that all trainings take in a second, and which of the two it is.

        Over the last seconds while there are some that run, else over all of their time.
        """
        states = list(self)
        if active := self.active:
            rate = sum(one.speed * one.examples_per_step for one in active if one.speed)
        else:
            seconds = max((one.ended or 0.0 for one in states), default=0.0) - min(
                (s.began for s in states), default=0.0
            )
            taken = sum((one.step - one.started.step) * one.examples_per_step for one in states)
            rate = taken / seconds if seconds > 0 else 0.0
        unit = "tokens" if states and all(one.started.tokens for one in states) else "examples"
        return (rate, unit) if rate else None


def apart_from_seed(one: TrainingStarted) -> Mapping[str, object]:
    """Return what the start of a training says apart from its seed and run."""
    return {
        "graphs": one.graphs.name,
        "stage": one.stage,
        "steps": one.steps,
        "device": one.device,
        "notes": one.notes,
        "computed": one.computed,
        "step": one.step,
        "threads": one.threads,
    }
