"""Learning-rate schedules: one file a family, found by the registry. A schedule is a function of the update."""

from .base import SCHEDULES, Schedule, Timeline, Watch

__all__ = ["SCHEDULES", "Schedule", "Timeline", "Watch"]
