"""Samplers: which points are tried next. One file for each family; the registry finds them.

A sampler has no memory: the same history and seed give the same points, so an interrupted study continues unchanged.
"""

from .base import BuiltinSampler
from .plain import Grid, QuasiRandom, Random

__all__ = ["BuiltinSampler", "Grid", "QuasiRandom", "Random"]
