"""Optimizers: one file per family, found by the registry. Those that torch.optim has run as torch's classes."""

from .base import OPTIMIZERS, Optimizer, WeightGroup

__all__ = ["OPTIMIZERS", "Optimizer", "WeightGroup"]
