"""The base class of weight averages."""

from __future__ import annotations

from typing import ClassVar

from ..registry import FAMILIES, Declared, Registry, family
from ..schedules import Timeline

AVERAGES: Registry[Average] = FAMILIES["average"]


@family(AVERAGES)
class Average(Declared):
    """Base class of all averages: a pure function from the number of an update to the weight of its parameters.

    A subclass has a `kind`, pydantic fields, and `share`. Defining the class registers it.
    """

    required = ("share",)

    renews: ClassVar[bool] = True
    """Whether the statistics of batch norms are recomputed for the average where the spec does not say."""

    def share(self, step: int, count: int, timeline: Timeline) -> float | None:
        """Return the weight w of the parameters after `step` updates in the average; None where they are left out.

        The average m of `count` earlier parameters becomes m + w * (parameters - m), so the parameters themselves for
        w = 1.
        """
        raise TypeError(f"{type(self).__name__} has no share()")
