"""Optimizers: one file a family, found by the registry. torch.optim is the implementation wherever it has one."""

from .base import OPTIMIZERS, Optimizer, WeightGroup

__all__ = ["OPTIMIZERS", "Optimizer", "WeightGroup"]
