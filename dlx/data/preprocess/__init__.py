"""Preprocessing: a list of steps on the inputs before training, each fitted to the training part.

One file per topic, found by the registry.
"""

from .base import (
    EARLIER_FIT,
    PREPROCESSING,
    EarlierFit,
    Fitted,
    Preprocess,
    applied,
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
    "applied",
    "as_float32",
    "fit_steps",
    "shape_after",
    "using_earlier_fit",
]
