"""Losses: one file per family, found by the registry. All are computed in numerically stable form."""

from .base import LOSSES, Loss

__all__ = ["LOSSES", "Loss"]
