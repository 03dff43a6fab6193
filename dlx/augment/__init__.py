"""Data augmentation: random changes of examples in training, and several views of one in evaluation."""

from .base import AUGMENTATIONS, VIEWS, Augmentation, Mixing, Moving, View

__all__ = ["AUGMENTATIONS", "VIEWS", "Augmentation", "Mixing", "Moving", "View"]
