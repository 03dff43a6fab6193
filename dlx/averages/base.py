"""What every average is."""

from __future__ import annotations

from typing import ClassVar

from ..registry import FAMILIES, Declared, Registry, family
from ..schedules import Timeline

AVERAGES: Registry[Average] = FAMILIES["average"]


@family(AVERAGES)
class Average(Declared):
    """The root of all averages: a pure function from an update to what its weights count."""

    renews: ClassVar[bool] = True
    """Whether statistics of batch norms are computed anew for the average, where the spec does not say."""

    def share(self, step: int, count: int, timeline: Timeline) -> float | None:
        """What the weights after `step` updates count in the average, which holds `count` of them; None: they wait.

        The average m becomes m + share * (w - m), so it is w where the share is 1.
        """
        raise TypeError(f"{type(self).__name__} has no share()")
