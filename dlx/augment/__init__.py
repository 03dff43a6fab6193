"""Augmentation: examples changed at random while training, and several views of one at evaluation."""

from .base import AUGMENTATIONS, VIEWS, Augmentation, Mixing, Moving, View

__all__ = ["AUGMENTATIONS", "VIEWS", "Augmentation", "Mixing", "Moving", "View"]
