"""Learning-rate schedules: one file a family, found by the registry. A schedule is a function of the update."""

from .base import SCHEDULES, Schedule, Span, Watch
from .drops import Constant, Step

__all__ = ["SCHEDULES", "Constant", "Schedule", "Span", "Step", "Watch"]
