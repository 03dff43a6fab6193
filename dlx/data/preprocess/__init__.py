"""What is done to the inputs before training: a list of steps, each fitted to the training part alone.

One file a topic, found by the registry.
"""

from .base import (
    EARLIER_FIT,
    PREPROCESSING,
    EarlierFit,
    Fitted,
    Preprocess,
    as_float32,
    fit_steps,
    shape_after,
    using_earlier_fit,
)

__all__ = [
    "EARLIER_FIT",
    "PREPROCESSING",
    "EarlierFit",
    "Fitted",
    "Preprocess",
    "as_float32",
    "fit_steps",
    "shape_after",
    "using_earlier_fit",
]
