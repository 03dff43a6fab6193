"""Optimizers: one file a family, found by the registry. torch.optim is the implementation wherever it has one."""

from .base import OPTIMIZERS, Group, Optimizer

__all__ = ["OPTIMIZERS", "Group", "Optimizer"]
