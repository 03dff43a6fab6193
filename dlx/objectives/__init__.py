"""What a network is asked to do: one file an objective, found by the registry."""

from .base import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "Objective"]
