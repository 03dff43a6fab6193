"""Where examples come from: one file a source, found by the registry."""

from .base import DATASETS, Dataset, Facts, Sets, Split

__all__ = ["DATASETS", "Dataset", "Facts", "Sets", "Split"]
