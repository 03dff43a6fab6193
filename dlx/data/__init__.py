"""Data sets: one file per source, found by the registry."""

from .base import DATASETS, Dataset, Facts, Sets, Split
from .preprocess import PREPROCESSING, Preprocess

__all__ = ["DATASETS", "PREPROCESSING", "Dataset", "Facts", "Preprocess", "Sets", "Split"]
