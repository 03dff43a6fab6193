"""Optimizers: one file a family, found by the registry. torch.optim is the implementation wherever it has one."""

from .adam import Adam, AdamW
from .base import OPTIMIZERS, Group, Optimizer
from .sgd import SGD, GradientDescent

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "GradientDescent", "Group", "Optimizer"]
