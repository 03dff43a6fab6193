"""Weight initialisers: one file per topic, found by the registry. `default` leaves the weights as torch makes
them.
"""

from .base import INITIALIZERS, Default, Initializer, named

__all__ = ["INITIALIZERS", "Default", "Initializer", "named"]
