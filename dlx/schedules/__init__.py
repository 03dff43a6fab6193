"""Learning-rate schedules: one file per family, found by the registry. A schedule is a function of the update
number.
"""

from .base import SCHEDULES, Schedule, Timeline, Watch

__all__ = ["SCHEDULES", "Schedule", "Timeline", "Watch"]
