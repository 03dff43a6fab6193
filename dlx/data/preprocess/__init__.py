"""What is done to the inputs before training: a list of steps, each fitted to the training part alone.

One file a topic, found by the registry.
"""

from .base import EARLIER, PREPROCESSING, Earlier, Fitted, Preprocess, after, as_earlier, fitted, single

__all__ = [
    "EARLIER",
    "PREPROCESSING",
    "Earlier",
    "Fitted",
    "Preprocess",
    "after",
    "as_earlier",
    "fitted",
    "single",
]
