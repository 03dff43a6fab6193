"""What training makes small: one file a family, found by the registry. Numerically safe forms only."""

from .base import LOSSES, Loss
from .classes import CrossEntropy
from .values import BinaryCrossEntropy, SquaredError

__all__ = ["LOSSES", "BinaryCrossEntropy", "CrossEntropy", "Loss", "SquaredError"]
