"""What training makes small: one file a family, found by the registry. Numerically safe forms only."""

from .base import LOSSES, Loss

__all__ = ["LOSSES", "Loss"]
