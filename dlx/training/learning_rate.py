"""The learning rate of an optimizer over a training, and its momentum where the schedule moves it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import RunError
from ..lazy import torch
from ..optim import Optimizer
from ..schedules import Schedule, Timeline, Watch


class Pace:
    """Sets the learning rate of an optimizer's groups for each step, by its schedule and what watches a metric."""

    def __init__(
        self, declared: Optimizer, optimizer: torch.optim.Optimizer, schedule: Schedule, span: Timeline
    ) -> None:
        self.lr, self.optimizer, self.schedule, self.span = declared.lr, optimizer, schedule, span
        self.rates: list[float] = [group["lr"] for group in optimizer.param_groups]
        """The learning rate of each group before the schedule."""
        self.rate = 0.0
        """The learning rate of the last update."""
        self.watch: Watch | None = schedule.watch()
        """What lowers the rate where a metric stands still."""
        self.factor = math.nan
        self.move: Callable[[int], None] | None = self._move if schedule.moves_momentum else None
        """Sets the momentum for a step."""

    def at(self, step: int) -> float:
        """The part of the learning rate that is left at a step."""
        return self.schedule.at(step, self.span) * (self.watch.factor if self.watch else 1.0)

    def set(self, factor: float) -> None:
        """Set the learning rate to this part of it."""
        if factor == self.factor:
            return
        self.factor, self.rate = factor, self.lr * factor
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def see(self, measured: Mapping[str, float]) -> None:
        """Take in an evaluation. RunError where it does not give the metric that the schedule follows."""
        if self.watch is None:
            return
        if self.watch.metric not in measured:
            there = f"there are {', '.join(measured)}" if measured else "the data has no `valid` part"
            raise RunError(
                f"the schedule follows {self.watch.metric}, and {there}",
                hint="Name one of them: `schedule: {plateau: valid/loss}`."
                if measured
                else "`valid: 0.1` holds some out.",
            )
        self.watch.update(measured[self.watch.metric])

    def _move(self, step: int) -> None:
        now = self.schedule.momentum(step, self.span)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (now, *group["betas"][1:])
            else:
                group["momentum" if "momentum" in group else "beta"] = now

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate,
            "watch": self.watch.state() if self.watch is not None else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state. ValueError where it is of another optimizer."""
        groups, own = state["optimizer"]["param_groups"], self.optimizer.param_groups
        sizes = [[len(group["params"]) for group in some] for some in (groups, own)]
        fields = [set[str]().union(*some) for some in (groups, own)]
        if sizes[0] != sizes[1] or not (fields[0] <= fields[1] or fields[1] <= fields[0]):
            raise ValueError("it is of another optimizer, or of other groups of weights")
        if type(state["rate"]) not in (int, float):
            raise ValueError("its `rate` is no number")
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate, self.factor = state["rate"], math.nan
        if self.watch is not None:
            self.watch.restore(state["watch"])
