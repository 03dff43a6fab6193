"""A constant learning rate."""

from __future__ import annotations

from typing import ClassVar

from .base import Schedule, Timeline


class Constant(Schedule):
    """The learning rate stays as it is."""

    kind: ClassVar[str] = "constant"

    def at(self, step: int, timeline: Timeline) -> float:
        return 1.0
