"""Augmentation: examples changed at random while training, and several views of one at evaluation."""

from .base import AUGMENTATIONS, Augmentation, Mixing, Moving
from .one_of import OneOf, alone
from .views import VIEWS, View

__all__ = ["AUGMENTATIONS", "VIEWS", "Augmentation", "Mixing", "Moving", "OneOf", "View", "alone"]
