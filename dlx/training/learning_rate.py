"""An optimizer with its schedule: the learning rate of each step, and the momentum where the schedule sets it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import RunError
from ..lazy import torch
from ..optim import Optimizer
from ..schedules import Schedule, Timeline, Watch


class ScheduledOptimizer:
    """Optimizer whose groups get their learning rate for each step from a schedule and a watched metric (plateau)."""

    def __init__(
        self, declared: Optimizer, optimizer: torch.optim.Optimizer, schedule: Schedule, span: Timeline
    ) -> None:
        self.lr, self.optimizer, self.schedule, self.span = declared.lr, optimizer, schedule, span
        self.rates: list[float] = [group["lr"] for group in optimizer.param_groups]
        """The learning rate of each group before the schedule."""
        self.rate = 0.0
        """The learning rate of the last update."""
        self.watch: Watch | None = schedule.watch()
        """Lowers the rate where a metric no longer improves."""
        self.factor = math.nan  # unequal to any factor, so that the first step always writes its rate
        self.set_momentum: Callable[[int], None] | None = self._set_momentum if schedule.moves_momentum else None
        """Sets the momentum of a step; None where the schedule leaves it."""

    def factor_at(self, step: int) -> float:
        """Return the factor on the learning rate at a step, counted from 0."""
        return self.schedule.at(step, self.span) * (self.watch.factor if self.watch else 1.0)

    def set_factor(self, factor: float) -> None:
        """Set the learning rate of each group to `factor` of its own."""
        if factor == self.factor:
            return
        self.factor, self.rate = factor, self.lr * factor
        # from the rates before the schedule, not from the last ones: a product of many factors would drift by
        # rounding
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def report(self, measured: Mapping[str, float]) -> None:
        """Pass an evaluation to the watch. RunError where it lacks the metric that the schedule follows."""
        if self.watch is None:
            return
        if self.watch.metric not in measured:
            available = f"there are {', '.join(measured)}" if measured else "the data has no `valid` part"
            raise RunError(
                f"the schedule follows {self.watch.metric}, and {available}",
                hint="Name one of them: `schedule: {plateau: valid/loss}`."
                if measured
                else "`valid: 0.1` holds some out.",
            )
        self.watch.update(measured[self.watch.metric])

    def _set_momentum(self, step: int) -> None:
        now = self.schedule.momentum(step, self.span)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (now, *group["betas"][1:])
            else:
                group["momentum" if "momentum" in group else "beta"] = now

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate,
            "watch": self.watch.state() if self.watch is not None else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned. ValueError where it is of another optimizer."""
        groups, own = state["optimizer"]["param_groups"], self.optimizer.param_groups
        sizes = [[len(group["params"]) for group in some] for some in (groups, own)]
        # fields may be more or fewer than here, for torch adds some from version to version; but of two different
        # optimizers each has a field that the other lacks
        fields = [set[str]().union(*some) for some in (groups, own)]
        if sizes[0] != sizes[1] or not (fields[0] <= fields[1] or fields[1] <= fields[0]):
            raise ValueError("it is of another optimizer, or of other groups of weights")
        if type(state["rate"]) not in (int, float):
            raise ValueError("its `rate` is no number")
        self.optimizer.load_state_dict(state["optimizer"])
        # the groups just loaded hold the rate of the last step, so `factor` must not claim that one is set
        self.rate, self.factor = state["rate"], math.nan
        if self.watch is not None:
            self.watch.restore(state["watch"])
