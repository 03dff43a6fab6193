"""Momentum that follows the schedule: `one_cycle` with `cycle_momentum`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .fit import Job


def mover(job: Job) -> Callable[[], None] | None:
    """What sets the momentum of the next update; None where it stays as it is."""
    schedule, span, groups = job.train.schedule, job.span, job.optimizer.param_groups
    if not schedule.moves_momentum:
        return None

    def move() -> None:
        now = schedule.momentum(job.step, span)
        for group in groups:
            if "betas" in group:
                group["betas"] = (now, *group["betas"][1:])
            else:
                group["momentum" if "momentum" in group else "beta"] = now

    return move
