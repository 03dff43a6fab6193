"""How weights begin: one file a topic, found by the registry. `default` leaves each layer as torch makes it."""

from .base import INITIALIZERS, Default, Initializer, named

__all__ = ["INITIALIZERS", "Default", "Initializer", "named"]
