"""Samplers: which points are tried next. One file a family, found by the registry.

A sampler has no memory: the same history and seed give the same points, so a study goes on as if it had not stopped.
"""

from .base import Picking
from .plain import Grid, QuasiRandom, Random

__all__ = ["Grid", "Picking", "QuasiRandom", "Random"]
